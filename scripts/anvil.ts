/** Foundry's anvil, which npm installs as a program for this machine. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** Path of the program itself: npm's wrapper around it would be a process more. */
export function findAnvil(): string {
  const wrapper = createRequire(import.meta.url).resolve("@foundry-rs/anvil/package.json");
  const cpu = process.arch === "x64" ? "amd64" : process.arch;
  const folder = dirname(createRequire(wrapper).resolve(`@foundry-rs/anvil-${process.platform}-${cpu}/package.json`));
  return join(folder, "bin", process.platform === "win32" ? "anvil.exe" : "anvil");
}
