import { readdirSync, readFileSync } from "node:fs";

import { expect } from "chai";

import { ERRORS } from "../../protocol/error.ts";
import { VERDICT_CODES } from "../../protocol/verdict.ts";
import { readSections, render, workedExample } from "../fixtures/worked-example.ts";

const SPEC = readFileSync(new URL("../../protocol/SPEC.md", import.meta.url), "utf8");

describe("SPEC.md", () => {
  it("holds a worked example that is rebuilt byte for byte, and no value besides", async () => {
    const written = readSections(SPEC);
    const rebuilt = await workedExample();
    for (const section of rebuilt) expect(written.get(section.name), section.name).to.equal(render(section));
    expect([...written.keys()].sort()).to.deep.equal(rebuilt.map(({ name }) => name).sort());
    expect(SPEC.match(/^```example /gm)).to.have.length(rebuilt.length);
  }).timeout(20_000);

  it("names no code that DMTP does not have", () => {
    const named = [...SPEC.matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g)].map(([, code = ""]) => code);
    const placeholders = new Set(["FORMAT_MALFORMED", "KEY_DOCUMENT"]);
    expect(named.length).to.be.greaterThan(50);
    for (const code of named) if (!placeholders.has(code)) expect(ERRORS).to.have.property(code);
  });

  it("lists as verdicts the codes that verdicts can have, and no others", () => {
    const tables = SPEC.slice(SPEC.indexOf("### 9.1 "), SPEC.indexOf("### 9.4 "));
    const listed = [...tables.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code = ""]) => code);
    expect([...new Set(listed)].sort()).to.deep.equal([...VERDICT_CODES].sort());
  });

  it("has every section that the code refers to", () => {
    const folder = new URL("../../protocol/", import.meta.url);
    const sources = readdirSync(folder).filter((name) => name.endsWith(".ts"));
    const referred = new Set<string>();
    for (const name of sources) {
      const source = readFileSync(new URL(name, folder), "utf8");
      for (const [, section = ""] of source.matchAll(/SPEC (?:section )?(\d+(?:\.\d+)?)/g)) referred.add(section);
    }
    expect(referred.size).to.be.greaterThan(15);
    for (const section of referred)
      expect(SPEC).to.match(new RegExp(`^###? ${section.replace(".", "\\.")} `, "m"), section);
  });
});
