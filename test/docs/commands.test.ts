import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

import { expect } from "chai";

import { findFreePort } from "../../scripts/service.ts";
import { ROOT } from "../../scripts/tool.ts";
import { tasks } from "../../tasks/tasks.ts";
import { startChain, type Chain } from "../fixtures/chain.ts";
import { blocksOf, commandsOf, isAsPrinted, readPage } from "../fixtures/doc-blocks.ts";
import { copyRepository, DocShell } from "../fixtures/doc-shell.ts";
import { chooseSize } from "../fixtures/long-form.ts";

/** In this order, in one shell: the pages for users go on from what the README has begun. */
const FIRST = ["README.md", "docs/app.md", "docs/contracts.md", "docs/operator.md", "CONTRIBUTING.md", "SECURITY.md"];
const PAGES = [...FIRST, ...pagesIn("docs").filter((page) => !FIRST.includes(page))];

function pagesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `${folder}/${name}`);
}

/** What can't run here as it is written, what runs in its place, and why. */
const STAND_INS: readonly { readonly is: RegExp; readonly runs: string; readonly because: string }[] = [
  { is: /^git clone /, runs: "true", because: "the copy that this runs in is the clone" },
  { is: /^npm test$/, runs: "npm test -- --help", because: "this test is a part of it" },
  { is: /^npm run check$/, runs: "npm run check -- --help", because: "it is a step of .ci/run" },
  {
    is: /^npx hardhat node$/,
    runs: "npx hardhat node --port $NODE_PORT",
    because: "somebody else may use the default port",
  },
  {
    is: /^POLYGON_RPC_URL=\S+ .*npx hardhat test solidity /,
    runs: "npx hardhat test solidity --help",
    because: "test/fork/ballot.test.ts runs it, on a chain that takes Polygon's place",
  },
  {
    is: /^npx hardhat ignition verify /,
    runs: "npx hardhat ignition verify --help",
    because: "test/ignition/verify.test.ts runs it, on services that take Etherscan's and Sourcify's place",
  },
];

describe("the commands of README.md and docs/", () => {
  it("stand in blocks that are marked as such", () => {
    for (const page of PAGES) {
      for (const { kind, body } of blocksOf(readPage(page))) {
        expect(kind, `${page}: a block without a language: ${body.slice(0, 80)}`).not.to.equal("");
        if (kind.startsWith("sh") || kind === "console" || kind === "crontab") continue;
        expect(body, `${page}: a command in a block that is marked ${kind}`).not.to.match(
          /^\s*(?:\$ |(?:npm|npx|git|curl|bash) )/m,
        );
      }
    }
  });

  it("name scripts, tasks and options that there are, wherever they are mentioned", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: object };
    const known = new Map(
      tasks.map((task) => [task.id.join(" "), "options" in task ? Object.keys(task.options) : []] as const),
    );
    const ofHardhat = /^(?:node|test solidity|keystore set|ignition (?:deploy|verify|track-tx|wipe)|indexer)\b/;
    for (const page of PAGES) {
      const text = readPage(page);
      for (const [, name = ""] of text.matchAll(/npm run ([a-z][\w:-]*)/g)) {
        expect(scripts, `${page}: npm run ${name}`).to.have.property(name);
      }
      for (const [whole, words = ""] of text.matchAll(/npx hardhat ((?:[^\n`;|)\\]|\\\|)+)/g)) {
        const task = [...known.keys()]
          .sort((a, b) => b.length - a.length)
          .find((id) => words === id || words.startsWith(`${id} `) || words.startsWith(`${id},`));
        if (task === undefined) {
          expect(words, `${page}: ${whole}`).to.match(/^(?:<task>|--help|status says)/.test(words) ? /./ : ofHardhat);
          continue;
        }
        const options = (known.get(task) ?? []).map((name) =>
          name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
        );
        for (const [, option = ""] of words.replaceAll(/"[^"]*"/g, "").matchAll(/ --([a-z-]+)/g)) {
          expect([...options, "network"], `${page}: ${whole}`).to.include(option);
        }
      }
    }
  });

  // Minutes: they deploy, run the services, and run tests themselves.
  const describeLong = chooseSize(describe.skip, describe);
  describeLong("run as they are written (npm run test:all)", () => {
    const used = new Set<RegExp>();
    let folder: string;
    let amoy: Chain;
    let shell: DocShell;
    let stands: (text: string) => string;

    before(async function () {
      this.timeout(120_000);
      folder = mkdtempSync(join(tmpdir(), "dmtp-docs-"));
      const copy = join(folder, "dmtp");
      copyRepository(copy);
      amoy = await startChain({ chainId: 80_002 });
      const [nodePort, port] = [await findFreePort(), await findFreePort()];
      shell = new DocShell(copy, {
        PATH: [join(copy, "node_modules", ".bin"), process.env["PATH"]].join(delimiter),
        NODE_PORT: String(nodePort),
        LOCALHOST_RPC_URL: `http://127.0.0.1:${nodePort}`,
        PORT: String(port),
        // A person says yes.
        HARDHAT_IGNITION_CONFIRM_DEPLOYMENT: "false",
        // What is deployed for good is compiled for it; here the contracts that are there will do.
        HARDHAT_BUILD_PROFILE: "default",
        XDG_CONFIG_HOME: join(folder, "config"),
        XDG_DATA_HOME: join(folder, "data"),
        IPFS_API_URL: "",
        CI: "",
      });
      // Names in the pages, and what they are here: accounts of anvil's and of Hardhat's node.
      const names: readonly (readonly [string, string])[] = [
        ["127.0.0.1:4680", `127.0.0.1:${port}`],
        ["https://rpc.example", amoy.url],
        ["DEPLOYER_KEY", "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"],
        ["ANCHORER_KEY", "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"],
        ["OWNER_ADDRESS", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"],
        ["ANCHORER_ADDRESS", "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"],
      ];
      stands = (text) => names.reduce((so, [name, value]) => so.replaceAll(name, value), text);
    });

    after(async () => {
      shell.close();
      await amoy.stop();
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    });

    for (const page of PAGES) {
      it(`in ${page}`, async function () {
        this.timeout(300_000);
        for (const { text, prints, isService } of blocksOf(readPage(page)).flatMap(commandsOf)) {
          const standIn = STAND_INS.find(({ is }) => is.test(text));
          if (standIn !== undefined) used.add(standIn.is);
          const command = stands(standIn?.runs ?? text);
          if (isService) {
            await shell.serve(command, 60_000);
            continue;
          }
          const { code, printed } = await shell.run(command, 120_000);
          expect(code, `${page}: ${text}\n${printed}`).to.equal(0);
          if (prints === null || standIn !== undefined) continue;
          const isAsSaid = isAsPrinted(printed, stands(prints));
          expect(isAsSaid, `${page}: ${text}\nprinted:\n${printed}\nthe page says:\n${prints}`).to.equal(true);
        }
      });
    }

    it("but for those that something else runs, all of which are still there", () => {
      expect(
        STAND_INS.filter(({ is }) => !used.has(is)).map(({ is, because }) => `${is.source}: ${because}`),
      ).to.deep.equal([]);
    });
  });
});

describe("what a page says that a command prints", () => {
  it("is compared line by line; an ellipsis is anything in a line, or any lines", () => {
    expect(isAsPrinted("a 12 b\nc\n", "a … b\nc")).to.equal(true);
    expect(isAsPrinted("x\ny\na\nb", "…\na\nb")).to.equal(true);
    expect(isAsPrinted("a\nb\nz", "a\nb\n…")).to.equal(true);
    expect(isAsPrinted("a\nb\nz", "a\nb")).to.equal(false);
    expect(isAsPrinted("a 12\nb", "a …b")).to.equal(false);
    expect(isAsPrinted("a.b", "a+b")).to.equal(false);
    expect(isAsPrinted("\na\n\nb ", "a\nb\n")).to.equal(true);
  });
});
