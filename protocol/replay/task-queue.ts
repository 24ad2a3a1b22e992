/** Tasks in the order in which they came. Taking the first costs the same however many wait: shifting a long array copies it. */
export class TaskQueue<Task> {
  private tasks: Task[] = [];
  private next = 0;

  get isEmpty(): boolean {
    return this.next === this.tasks.length;
  }

  get first(): Task | undefined {
    return this.tasks[this.next];
  }

  push(task: Task): void {
    this.tasks.push(task);
  }

  shift(): void {
    this.next += 1;
    if (this.next < 1_024 || this.next * 2 < this.tasks.length) return;
    this.tasks = this.tasks.slice(this.next);
    this.next = 0;
  }
}
