import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { expect } from "chai";

import { formatUsage, parseOptions, UsageError } from "../../scripts/options.ts";
import { ROOT } from "../../scripts/tool.ts";

const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: Record<string, string> };
const BOOTSTRAP = "node scripts/bootstrap.mjs ";

/** As `npm run NAME -- …args` starts it, without npm. */
async function run(command: string, args: readonly string[]) {
  const [, ...rest] = command.split(" ");
  const child = spawn(process.execPath, [...rest, ...args], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(child, "close") as Promise<[number | null]>;
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await closed;
  return { code, stdout, stderr };
}

describe("every script", () => {
  const commands = new Map(
    Object.entries(scripts).map(([name, command]) => [name === "test" ? "npm test" : `npm run ${name}`, command]),
  );
  commands.set("node scripts/bootstrap.mjs scripts/kubo-build.ts", "node scripts/bootstrap.mjs scripts/kubo-build.ts");

  it("is started by bootstrap.mjs, which installs what is missing", () => {
    for (const [name, command] of commands) expect(command, name).to.match(/^node scripts\/bootstrap\.mjs \S+\.ts/);
    const started = [...commands.values()].map((command) => command.slice(BOOTSTRAP.length).split(" ")[0]);
    // What begins its work when it is started is a script, so it has a name in package.json.
    for (const file of readdirSync(join(ROOT, "scripts")).filter((name) => name.endsWith(".ts"))) {
      if (
        /^readOptions\(|[ =]readOptions\(/m.test(readFileSync(join(ROOT, "scripts", file), "utf8")) &&
        file !== "options.ts"
      ) {
        expect(started, file).to.include(`scripts/${file}`);
      }
    }
  });

  for (const [name, command] of commands) {
    it(`${name} prints its usage for --help, and refuses an option that it does not know`, async () => {
      const [help, unknown] = await Promise.all([run(command, ["--help"]), run(command, ["--no-such-option"])]);
      expect(help, name).to.include({ code: 0, stderr: "" });
      // `test:fork` is `test` with a folder, `test:all` with an option.
      expect(help.stdout)
        .to.match(/^usage: (npm (run [a-z-]+|test)|node scripts)/)
        .and.to.contain("--help");
      if (!name.startsWith("npm run test:"))
        expect(help.stdout.startsWith(`usage: ${name}`), help.stdout).to.equal(true);
      expect(unknown, name).to.include({ code: 1, stdout: "" });
      expect(unknown.stderr)
        .to.match(/^error\[USAGE\]: .*--no-such-option/)
        .and.to.contain("usage: ")
        .and.not.to.contain("    at ");
    });
  }
});

describe("bootstrap.mjs", () => {
  it("says so where the folder's name is one that Hardhat can't build in", async () => {
    const folder = mkdtempSync(join(tmpdir(), "dmtp#1-"));
    try {
      mkdirSync(join(folder, "scripts"));
      for (const file of ["bootstrap.mjs", "install.mjs", "install-lock.mjs", "demo.ts"]) {
        copyFileSync(join(ROOT, "scripts", file), join(folder, "scripts", file));
      }
      const { code, stderr } = await run(`node ${join(folder, "scripts", "bootstrap.mjs")} scripts/demo.ts`, []);
      expect(code).to.equal(1);
      expect(stderr).to.match(/^error\[FOLDER_NAME\]: .*#.*\nhint: move this folder/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the options of a script", () => {
  const usage = {
    command: "npm run something",
    about: "It does something.",
    positionals: "file …",
    options: {
      fast: { type: "flag", about: "Be fast" },
      only: { type: "text", value: "TEXT", about: "These" },
      times: { type: "count", value: "N", about: "How often", default: 3 },
    },
  } as const;

  it("are read by their types, with their defaults", () => {
    expect(parseOptions(usage, [])).to.deep.equal({
      values: { fast: false, only: undefined, times: 3 },
      positionals: [],
    });
    expect(parseOptions(usage, ["a", "--fast", "--only=x", "--times", "0.5", "b"])).to.deep.equal({
      values: { fast: true, only: "x", times: 0.5 },
      positionals: ["a", "b"],
    });
  });

  it("are refused when unknown, without their value, no number, or an argument where none is taken", () => {
    for (const args of [["--slow"], ["--only"], ["--times", "often"], ["--times", ""], ["--times=-1"], ["--fast=1"]]) {
      expect(() => parseOptions(usage, args), args.join(" ")).to.throw(UsageError);
    }
    const { positionals: _, ...withoutArguments } = usage;
    expect(() => parseOptions(withoutArguments, ["a"])).to.throw(UsageError, "a");
  });

  it("are printed one a line, with what each does and its default", () => {
    expect(formatUsage(usage)).to.equal(
      [
        "usage: npm run something -- [file …] [--fast] [--only TEXT] [--times N]",
        "",
        "It does something.",
        "",
        "  --fast       Be fast",
        "  --only TEXT  These",
        "  --times N    How often (default: 3)",
        "  --help       Print this",
      ].join("\n"),
    );
  });
});
