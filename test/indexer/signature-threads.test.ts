import type { Worker } from "node:worker_threads";

import { expect } from "chai";

import { SignatureThreads } from "../../indexer/signature-threads.ts";
import { History, Person } from "../fixtures/history.ts";

describe("Threads that verify signatures", function () {
  this.timeout(30_000);
  const [alice, bob] = [new Person("Alice"), new Person("Bob")];
  const history = new History();
  /** More than two batches; every third is not by the key that it is said to be by. */
  const questions = Array.from({ length: 150 }, (_, i) => ({
    block: history.blocks.get(history.message(alice, bob, { seq: i + 1 }))!,
    publicKey: (i % 3 === 0 ? bob : alice).identity().signingKey,
  }));
  const expected = questions.map((_, i) => i % 3 !== 0);
  const open: SignatureThreads[] = [];

  function start(count: number, startAfter = 1, log: (line: string) => void = () => undefined): SignatureThreads {
    const threads = new SignatureThreads({ count, startAfter, log });
    open.push(threads);
    return threads;
  }

  function ask(threads: SignatureThreads): Promise<(boolean | null)[]> {
    return threads.verify(questions);
  }

  afterEach(() => {
    for (const threads of open.splice(0)) threads.close();
  });

  for (const count of [1, 3]) {
    it(`answer many questions, each its own, with a count of ${count}`, async () => {
      const threads = start(count);
      expect(await ask(threads)).to.deep.equal(expected);
      expect(await ask(threads)).to.deep.equal(expected);
    });
  }

  it("start when there is much to verify, and say nothing before", async () => {
    const threads = start(1, 100);
    const answers = await Promise.all(questions.map((question) => threads.verify([question])));
    expect(answers.flat().slice(0, 99)).to.deep.equal(expected.slice(0, 99).map(() => null));
    expect(answers.flat().slice(99)).to.deep.equal(expected.slice(99));
  });

  it("say nothing when there are none, and when they are closed", async () => {
    const nothing = questions.map(() => null);
    expect(await ask(start(0))).to.deep.equal(nothing);
    const threads = start(1);
    const underWay = ask(threads);
    threads.close();
    expect(await underWay).to.deep.equal(nothing);
    expect(await ask(threads)).to.deep.equal(nothing);
    const early = start(1);
    early.close();
    expect(await ask(early)).to.deep.equal(nothing);
  });

  it("leave nobody waiting when one fails, are replaced, and given up when they keep failing", async () => {
    const said: string[] = [];
    const threads = start(1, 1, (line) => said.push(line));
    const malformed = { block: Uint8Array.of(0xff), publicKey: alice.identity().signingKey };
    for (let failures = 1; failures <= 8; failures++) {
      expect(await threads.verify([malformed])).to.deep.equal([null]);
      if (failures < 8) expect(await ask(threads)).to.deep.equal(expected);
    }
    expect(await ask(threads)).to.deep.equal(questions.map(() => null));
    expect(said).to.have.length(8);
    expect(said[0]).to.match(/^a thread that verifies signatures failed: .*canonical.*; another one is started$/);
    expect(said[7]).to.match(/; signatures are verified without it$/);
  });

  it("leave nobody waiting when one ends without a word", async () => {
    const said: string[] = [];
    const threads = start(1, 1, (line) => said.push(line));
    expect(await ask(threads)).to.deep.equal(expected);
    const underWay = ask(threads);
    const [thread] = Reflect.get(threads, "threads") as { readonly worker: Worker }[];
    void thread!.worker.terminate();
    expect(await underWay).to.deep.equal(questions.map(() => null));
    expect(said).to.deep.equal(["a thread that verifies signatures failed: it ended; another one is started"]);
    expect(await ask(threads)).to.deep.equal(expected);
  });
});
