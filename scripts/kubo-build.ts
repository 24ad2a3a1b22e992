/** Prints the path of a Kubo 0.43 that tests can use, built if need be. */
import { findKubo } from "./kubo-binary.ts";
import { readOptions } from "./options.ts";

readOptions({
  command: "node scripts/bootstrap.mjs scripts/kubo-build.ts",
  about:
    "Prints the path of a Kubo 0.43 that tests can use. It is built from its sources the first time, which needs Go.",
  options: {},
});

const kubo = findKubo((text) => void process.stderr.write(`${text}\n`));
if (kubo.path === null) {
  process.stderr.write(`error[KUBO]: ${kubo.reason}\n`);
  process.exitCode = 1;
} else {
  process.stdout.write(`${kubo.path}\n`);
}
