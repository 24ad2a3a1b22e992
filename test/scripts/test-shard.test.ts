import { join } from "node:path";

import { expect } from "chai";

import { TestCountReader } from "../../scripts/test-counts.ts";
import { OrderedOutput } from "../../scripts/test-output.ts";
import { TestShard } from "../../scripts/test-shard.ts";
import { ROOT } from "../../scripts/tool.ts";

const suite = (name: string): string => join(ROOT, "test", "fixtures", "suites", `${name}.ts`);

describe("A process that runs test files", () => {
  let shard: TestShard;
  let output: string;
  const write = (text: string): void => void (output += text);

  beforeEach(() => {
    output = "";
    shard = new TestShard({ bail: false }, { ...process.env, FORCE_COLOR: "0" });
  });
  afterEach(() => shard.kill());

  it("gives counts, failures and output of a file, and says which one left something open", async () => {
    const { counts, failures } = await shard.run(suite("mixed"), write);
    expect(counts).to.deep.equal({ passed: 1, failed: 1, skipped: 1 });
    expect(failures).to.contain("A mixed suite").and.to.contain('+  "figure": 2').and.not.to.contain("passes");
    expect(output).to.match(/^\ntest\/fixtures\/suites\/mixed\.ts\n/);
    expect(output).to.contain("✔ passes").and.to.contain("1) fails").and.to.contain("- is skipped");
    expect(await shard.end(500)).to.match(/left something open.*suites\/mixed\.ts \(Timeout\)/);
  });

  it("counts a file as failed whose process ends, and says how", async () => {
    const { counts, failures } = await shard.run(suite("deadly"), write);
    expect(counts).to.deep.equal({ passed: 0, failed: 1, skipped: 0 });
    expect(failures).to.contain("SIGKILL");
    expect(shard.hasEnded).to.equal(true);
  });

  it("counts a file as failed that does not load", async () => {
    const { counts, failures } = await shard.run(suite("none"), write);
    expect(counts).to.deep.equal({ passed: 0, failed: 1, skipped: 0 });
    expect(failures).to.contain("ERR_MODULE_NOT_FOUND");
    expect(await shard.end()).to.equal(null);
  });

  it("runs the tests of one pattern and not of another, and prints nothing where there are none", async () => {
    shard.kill();
    shard = new TestShard({ bail: false, grep: "suite", grepExclude: "passes|fails" }, process.env);
    expect((await shard.run(suite("mixed"), write)).counts).to.deep.equal({ passed: 0, failed: 0, skipped: 1 });
    shard.kill();
    shard = new TestShard({ bail: false, grep: "no such test" }, process.env);
    output = "";
    expect((await shard.run(suite("mixed"), write)).counts).to.deep.equal({ passed: 0, failed: 0, skipped: 0 });
    expect(output).to.equal("");
  });
});

describe("The output of jobs side by side", () => {
  it("comes job by job, in their order, as soon as it can", () => {
    const printed: string[] = [];
    const output = new OrderedOutput(3, (text) => void printed.push(text));
    output.write(1, "b1 ");
    output.write(0, "a1 ");
    output.end(2);
    expect(printed.join("")).to.equal("a1 ");
    output.write(1, "b2 ");
    output.end(0);
    expect(printed.join("")).to.equal("a1 b1 b2 ");
    output.write(1, "b3 ");
    output.endAll();
    expect(printed.join("")).to.equal("a1 b1 b2 b3 ");
  });
});

describe("The end of a runner's output", () => {
  it("is read for its counts, and for the failures with their counterexamples", () => {
    const reader = new TestCountReader();
    const lines = [
      "  1 passing",
      "    ✔ a test",
      "",
      "  3 passing",
      "  1 failing",
      "",
      "  1) A#test",
      "  Counterexample:",
    ];
    for (const line of lines) reader.readLine(line);
    expect(reader.counts).to.deep.equal({ passed: 3, failed: 1, skipped: 0 });
    expect(reader.failures).to.deep.equal(["", "  1) A#test", "  Counterexample:"]);
  });
});
