import { expect } from "chai";

import { Sources } from "../../io/content/sources.ts";
import { sourceFault, type Fault } from "../../io/content/source-fault.ts";
import type { ContentSource } from "../../io/content/store.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const bytes = fixedBytes("the block");
const cid = cidOf(bytes);

/** Answers as it is told: with bytes, that it has none, with a fault, or never. */
class ScriptedSource implements ContentSource {
  answer: Uint8Array | null | Fault | "never";
  asked = 0;
  aborted = 0;
  readonly name: string;
  readonly isLocal: boolean;

  constructor(name: string, answer: ScriptedSource["answer"], isLocal = false) {
    this.name = name;
    this.answer = answer;
    this.isLocal = isLocal;
  }

  async fetch(_: Cid, signal?: AbortSignal): Promise<Uint8Array | null> {
    this.asked += 1;
    if (this.answer === "never") {
      return new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => {
          this.aborted += 1;
          reject(new DOMException("aborted", "AbortError"));
        });
      });
    }
    await Promise.resolve();
    if (typeof this.answer === "string")
      throw sourceFault({ name: this.name }, this.answer, "as told", undefined, 7_000);
    return this.answer;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

describe("Several content sources", () => {
  let nowMs = 0;
  const pauses: number[] = [];
  const options = {
    now: () => nowMs,
    pause: (ms: number) => {
      pauses.push(ms);
      return Promise.resolve();
    },
  };
  beforeEach(() => {
    nowMs = 1_000;
    pauses.length = 0;
  });

  it("ask the first, and the next only when it has none", async () => {
    const [a, b] = [new ScriptedSource("a", bytes), new ScriptedSource("b", bytes)];
    const sources = new Sources([a, b], options);
    expect(await sources.get(cid)).to.deep.equal(bytes);
    expect([a.asked, b.asked]).to.deep.equal([1, 0]);
    a.answer = null;
    expect(await sources.get(cid)).to.deep.equal(bytes);
    expect([a.asked, b.asked]).to.deep.equal([2, 1]);
  });

  it("ask this machine's own before any other, whatever the order", async () => {
    const [far, near] = [new ScriptedSource("far", bytes), new ScriptedSource("near", bytes, true)];
    const sources = new Sources([far, near], options);
    expect(await sources.get(cid)).to.deep.equal(bytes);
    expect([far.asked, near.asked]).to.deep.equal([0, 1]);
  });

  for (const fault of ["wrong", "slow", "redirected", "busy"] as const) {
    it(`leave one alone that is ${fault}, and ask it again when its time is over`, async () => {
      const [a, b] = [new ScriptedSource("a", fault), new ScriptedSource("b", bytes)];
      const sources = new Sources([a, b], options);
      for (let i = 0; i < 3; i++) expect(await sources.get(cid)).to.deep.equal(bytes);
      expect([a.asked, b.asked]).to.deep.equal([1, 3]);
      expect(sources.health()[0]).to.deep.include({ state: "suspended", lastFault: { fault, message: "a: as told" } });
      expect(sources.health()[0]?.faults[fault]).to.equal(1);
      // Asked to be left alone for 7 s; the others as well, since what a source says of itself is a wish.
      nowMs += 7_001;
      a.answer = bytes;
      b.answer = null;
      expect(await sources.get(cid)).to.deep.equal(bytes);
      expect(sources.health()[0]).to.deep.include({ state: "ok", found: 1 });
    });
  }

  for (const fault of ["large", "silent", "refused"] as const) {
    it(`keep asking one whose answer is ${fault}: that is the block's author's doing`, async () => {
      const a = new ScriptedSource("a", fault);
      const sources = new Sources([a], options);
      for (let i = 0; i < 20; i++) expect(await sources.get(cid)).to.equal(null);
      expect(a.asked).to.equal(20);
      expect(sources.health()[0]?.state).to.equal("ok");
      a.answer = bytes;
      expect(await sources.get(cid)).to.deep.equal(bytes);
    });
  }

  it("ask one that is often silent after the others", async () => {
    const [a, b] = [new ScriptedSource("a", "silent"), new ScriptedSource("b", null)];
    const sources = new Sources([a, b], options);
    await sources.get(cid);
    b.answer = bytes;
    await sources.get(cid);
    expect([a.asked, b.asked]).to.deep.equal([1, 2]);
  });

  it("ask the next as well when the first is late, take the quicker, and let go of the other", async () => {
    const [a, b] = [new ScriptedSource("a", "never"), new ScriptedSource("b", bytes)];
    const sources = new Sources([a, b]);
    expect(await sources.get(cid)).to.deep.equal(bytes);
    expect([a.asked, b.asked, a.aborted]).to.deep.equal([1, 1, 1]);
    // From now on the quicker one is asked first.
    expect(await sources.get(cid)).to.deep.equal(bytes);
    expect([a.asked, b.asked]).to.deep.equal([1, 2]);
    expect(sources.health()[0]?.faults.silent).to.equal(0);
  });

  it("try again when a connection broke, once, and then say that nobody can be reached", async () => {
    const a = new ScriptedSource("a", "unreachable");
    const sources = new Sources([a], options);
    expect(await codeOfAsync(() => sources.get(cid))).to.equal("CONTENT_UNREACHABLE");
    expect([a.asked, pauses.length]).to.deep.equal([2, 1]);
    expect(sources.health()[0]?.state).to.equal("suspended");
    a.answer = bytes;
    expect(await codeOfAsync(() => sources.get(cid))).to.equal("CONTENT_UNREACHABLE");
    expect(a.asked).to.equal(2);
    nowMs += 7_001;
    expect(await sources.get(cid)).to.deep.equal(bytes);
  });

  it("wait longer after each failure, to a minute at most", async () => {
    const a = new ScriptedSource("a", "wrong");
    const sources = new Sources([a], options);
    const waits: number[] = [];
    for (let round = 0; round < 9; round++) {
      await sources.get(cid).catch(() => undefined);
      const start = nowMs;
      while (sources.health()[0]?.state === "suspended") nowMs += 500;
      waits.push(nowMs - start);
    }
    // The fake wishes for 7 s each time.
    expect(waits).to.deep.equal([7_000, 7_000, 7_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  it("say that a block is absent only when somebody who could be asked says so", async () => {
    const [near, a, b] = [
      new ScriptedSource("near", null, true),
      new ScriptedSource("a", "unreachable"),
      new ScriptedSource("b", "unreachable"),
    ];
    const sources = new Sources([near, a, b], options);
    expect(await codeOfAsync(() => sources.get(cid))).to.equal("CONTENT_UNREACHABLE");
    b.answer = null;
    nowMs += 60_000;
    expect(await sources.get(cid)).to.equal(null);
    expect(await new Sources([near], options).get(cid)).to.equal(null);
  });

  it("tell of one that failed where no other had the block, once, and of one that is not asked now", async () => {
    const told: string[] = [];
    const near = new ScriptedSource("near", null, true);
    const [a, b] = [new ScriptedSource("a", "refused"), new ScriptedSource("b", "wrong")];
    const onFault = ({ message }: Error): void => void told.push(message);
    const first = new Sources([near, a], { ...options, onFault });
    for (let i = 0; i < 3; i++) expect(await first.get(cid)).to.equal(null);
    expect(told.splice(0)).to.deep.equal(["a: as told"]);
    a.answer = bytes;
    const second = new Sources([b, a], { ...options, onFault });
    expect(await second.get(cid)).to.deep.equal(bytes);
    expect(told).to.deep.equal([]);
    a.answer = null;
    expect(await second.get(cid)).to.equal(null);
    expect([b.asked, told]).to.deep.equal([1, ["b: as told"]]);
  });

  it("take wrong bytes for none", async () => {
    expect(await new Sources([new ScriptedSource("a", "wrong")], options).get(cid)).to.equal(null);
  });
});
