import { rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

import { expect } from "chai";
import hre from "hardhat";
import { createHardhatRuntimeEnvironment } from "hardhat/hre";

import config from "../../hardhat.config.ts";
import DMTP from "../../ignition/modules/DMTP.ts";
import { ROOT } from "../../scripts/tool.ts";
import { startChain, type Chain } from "../fixtures/chain.ts";
import { listen, shut } from "../fixtures/loopback.ts";

const AMOY = 80002;
const POLYGON = 137;
const KEY = "a key for the explorer";
const PARAMETERS = {
  DMTP: {
    owner: "0x1111111111111111111111111111111111111111",
    anchorer: "0x2222222222222222222222222222222222222222",
  },
};

interface Submission {
  readonly contractaddress: string;
  readonly contractname: string;
  readonly compilerversion: string;
  readonly sourceCode: string;
  readonly constructorArguments: string;
}

describe("verification on the explorer", () => {
  let chain: Chain;
  let explorer: Server;
  let url: string;
  const keys = new Set<string | null>();
  const submissions: Submission[] = [];
  const deploymentId = `local-test-verify-${process.pid}`;

  before(async () => {
    chain = await startChain({ chainId: AMOY });
    explorer = createServer((request, response) => {
      const { searchParams } = new URL(request.url ?? "", "http://127.0.0.1");
      keys.add(searchParams.get("apikey"));
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        const answers: Record<string, object> = {
          getsourcecode: { status: "1", message: "OK", result: [{ SourceCode: "" }] },
          verifysourcecode: { status: "1", message: "OK", result: "ticket" },
          checkverifystatus: { status: "1", message: "OK", result: "Pass - Verified" },
        };
        if (body !== "") submissions.push(Object.fromEntries(new URLSearchParams(body)) as unknown as Submission);
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify(answers[searchParams.get("action") ?? ""]));
      });
    });
    url = new URL("/api", await listen(explorer)).href;
  });

  after(async () => {
    await shut(explorer);
    await chain.stop();
    await rm(join(hre.config.paths.ignition, "deployments", deploymentId), { recursive: true, force: true });
  });

  it("knows Polygon and Amoy, and asks for no key until it is used", () => {
    const { etherscan, blockscout, sourcify } = hre.config.verify;
    expect([etherscan.enabled, blockscout.enabled, sourcify.enabled]).to.deep.equal([true, false, true]);
    for (const [chainId, host] of Object.entries({ [POLYGON]: "polygonscan.com", [AMOY]: "amoy.polygonscan.com" })) {
      const descriptor = hre.config.chainDescriptors.get(BigInt(chainId));
      expect(descriptor?.blockExplorers.etherscan?.url).to.equal(`https://${host}`);
    }
  });

  it("submits sources, compiler and arguments that give the very code on chain", async () => {
    const operator = await createHardhatRuntimeEnvironment(
      {
        ...config,
        networks: { ...config.networks, amoy: { type: "http", chainType: "generic", chainId: AMOY, url: chain.url } },
        verify: { ...config.verify, etherscan: { apiKey: KEY }, sourcify: { enabled: false } },
        chainDescriptors: {
          [AMOY]: {
            name: "Polygon Amoy",
            chainType: "generic",
            blockExplorers: { etherscan: { url: "https://amoy.polygonscan.com", apiUrl: url } },
          },
        },
      },
      { network: "amoy" },
      ROOT,
    );
    const connection = await operator.network.create();
    await connection.ignition.deploy(DMTP, { parameters: PARAMETERS, deploymentId });
    await operator.tasks.getTask(["ignition", "verify"]).run({ deploymentId });

    expect([...keys]).to.deep.equal([KEY]);
    expect(submissions.map(({ contractname }) => contractname.split(":")[1]).sort()).to.deep.equal([
      "CIDStore",
      "KeyRegistry",
    ]);
    const solc = createRequire(import.meta.url)("solc") as { version(): string; compile(input: string): string };
    for (const submission of submissions) {
      const { contractaddress, contractname, compilerversion, sourceCode, constructorArguments } = submission;
      expect(compilerversion).to.equal(`v${solc.version().replace(".Emscripten.clang", "")}`);
      const input = JSON.parse(sourceCode) as { settings: { outputSelection: object } };
      input.settings.outputSelection = { "*": { "*": ["evm.bytecode.object"] } };
      const { contracts } = JSON.parse(solc.compile(JSON.stringify(input)));
      const [file = "", name = ""] = contractname.split(":");
      const created = `0x${contracts[file][name].evm.bytecode.object}${constructorArguments}`;
      expect(await creationCodeOf(contractaddress)).to.equal(created);
    }
    await connection.close();

    /** The data of the transaction that made the contract. */
    async function creationCodeOf(address: string): Promise<string> {
      for (let block = 1; ; block++) {
        for (const hash of (await connection.ethers.provider.getBlock(block))!.transactions) {
          const receipt = await connection.ethers.provider.getTransactionReceipt(hash);
          if (receipt?.contractAddress === address)
            return (await connection.ethers.provider.getTransaction(hash))!.data;
        }
      }
    }
  });
});
