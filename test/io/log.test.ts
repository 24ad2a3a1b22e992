import { expect } from "chai";

import { openLog, readLogSettings, type LogLevel, type LogOptions } from "../../io/log.ts";

const FORGED = 'no\nerror[INTERNAL]: forged\r\n\u001b[2J\u2028","level":"error"';

describe("A service's log", () => {
  function open(options: Partial<LogOptions>): { log: ReturnType<typeof openLog>; written: string[] } {
    const written: string[] = [];
    const write = (text: string): void => void written.push(text);
    return { log: openLog({ format: "text", level: "info", write, now: () => 0, ...options }), written };
  }

  it("is one line for each thing that happened, with its level and code", () => {
    const { log, written } = open({});
    log("the chain is followed again");
    log("it rests", { level: "warning" });
    log("no node answers", { level: "error", code: "CHAIN_UNREACHABLE", hint: "Try again." });
    expect(written).to.deep.equal([
      "the chain is followed again\n",
      "warning: it rests\n",
      "error[CHAIN_UNREACHABLE]: no node answers\nhint: Try again.\n",
    ]);
  });

  it("is one JSON document a line where a program reads it", () => {
    const { log, written } = open({ format: "json" });
    log("no node answers", { level: "error", code: "CHAIN_UNREACHABLE", hint: "Try again." });
    const time = "1970-01-01T00:00:00.000Z";
    const entry = { time, level: "error", code: "CHAIN_UNREACHABLE", message: "no node answers", hint: "Try again." };
    expect(written).to.deep.equal([`${JSON.stringify(entry)}\n`]);
  });

  it("is as the environment says, and as by default where that is wrong", () => {
    expect(readLogSettings({})).to.deep.equal({ format: "text", level: "info" });
    expect(readLogSettings({ LOG_FORMAT: "json", LOG_LEVEL: "error" })).to.deep.equal({
      format: "json",
      level: "error",
    });
    expect(readLogSettings({ LOG_FORMAT: "xml", LOG_LEVEL: "" })).to.deep.equal({ format: "text", level: "info" });
  });

  it("leaves out what is below its level", () => {
    for (const [level, expected] of [
      ["info", 3],
      ["warning", 2],
      ["error", 1],
    ] as const) {
      const { log, written } = open({ level });
      for (const own of ["info", "warning", "error"] satisfies LogLevel[]) log("something", { level: own });
      expect(written, level).to.have.length(expected);
    }
  });

  it("can't be forged or filled by the words of a node, neither as text nor as JSON", () => {
    for (const format of ["text", "json"] as const) {
      const { log, written } = open({ format });
      log(`${FORGED}${"A".repeat(1_000_000)}`, { level: "warning" });
      log("a defect", { level: "error", code: "INTERNAL", cause: Object.assign(new Error("x"), { stack: FORGED }) });
      const text = written.join("");
      expect(text.length).to.be.lessThan(4_000);
      expect(text).not.to.match(/^error\[INTERNAL\]: forged/m);
      for (const control of ["\r", "\u001b", "\u2028"]) expect(text).not.to.include(control);
      if (format === "json") {
        const entries = text
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line) as { level: unknown });
        expect(entries.map(({ level }) => level)).to.deep.equal(["warning", "error"]);
      }
    }
  });
});
