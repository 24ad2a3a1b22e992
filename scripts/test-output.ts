/**
 * What jobs that run side by side print: the output of each in one piece, in the order in which the jobs are listed.
 *
 * The first job that has not ended is passed through as it prints; what later ones print waits until it is their turn.
 */
export class OrderedOutput {
  readonly #write: (text: string) => void;
  readonly #waiting: string[];
  readonly #hasEnded: boolean[];
  #turn = 0;

  constructor(jobs: number, write: (text: string) => void) {
    this.#write = write;
    this.#waiting = Array<string>(jobs).fill("");
    this.#hasEnded = Array<boolean>(jobs).fill(false);
  }

  write(job: number, text: string): void {
    if (job === this.#turn) this.#write(text);
    else this.#waiting[job] = (this.#waiting[job] ?? "") + text;
  }

  /** Nothing more comes from this job. */
  end(job: number): void {
    this.#hasEnded[job] = true;
    while (this.#hasEnded[this.#turn] === true) {
      this.#turn += 1;
      const text = this.#waiting[this.#turn] ?? "";
      if (text !== "") this.#write(text);
    }
  }

  /** Ends every job, those that never began among them. */
  endAll(): void {
    for (const job of this.#hasEnded.keys()) this.end(job);
  }
}
