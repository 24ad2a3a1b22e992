import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { lockProcess } from "../../io/process-lock.ts";
import { DmtpError } from "../../protocol/error.ts";
import { useFolder } from "../fixtures/folder.ts";
import { codeOf } from "../fixtures/refusal.ts";

describe("The lock that one process has", () => {
  const folder = useFolder();
  const path = () => join(folder(), "anchor.lock");

  it("is one's until it is released, and nobody else's meanwhile", () => {
    const first = lockProcess(path());
    expect(first).not.to.equal(null);
    expect(lockProcess(path())).to.equal(null);
    first?.release();
    const second = lockProcess(path());
    expect(second).not.to.equal(null);
    second?.release();
  });

  it("is refused by its code where its file cannot be made, or is no lock: that is not another process", () => {
    mkdirSync(path());
    expect(codeOf(() => lockProcess(path()))).to.equal("DATABASE_WRITE_FAILED");
    const other = join(folder(), "other.lock");
    writeFileSync(other, "this is no SQLite file, and long enough that SQLite looks at it".repeat(20));
    expect(() => lockProcess(other))
      .to.throw(DmtpError, /^the lock other\.lock: /)
      .with.property("code", "DATABASE_DAMAGED");
  });
});
