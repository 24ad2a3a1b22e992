import { readFileSync } from "node:fs";

import { expect } from "chai";

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
}

describe("The lock file", () => {
  const text = readFileSync(new URL("../../package-lock.json", import.meta.url), "utf8");
  const { packages } = JSON.parse(text) as { readonly packages: Readonly<Record<string, Locked>> };
  const installed = Object.entries(packages).filter(([path, { link }]) => path !== "" && link !== true);

  it("pins every package by its hash, those of other platforms too, and names no registry", () => {
    expect(installed.length).to.be.greaterThan(100);
    const unpinned = installed.filter(([, { integrity }]) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ""));
    expect(unpinned.map(([path]) => path)).to.deep.equal([]);
    expect(installed.filter(([, { resolved }]) => resolved !== undefined)).to.deep.equal([]);
  });
});
