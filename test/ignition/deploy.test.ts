import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { rm } from "node:fs/promises";
import { join } from "node:path";

import { expect } from "chai";
import hre from "hardhat";

import { checkParameters, type Target } from "../../ignition/deploy.ts";
import DMTP from "../../ignition/modules/DMTP.ts";
import { checksummed, parseAddress } from "../../protocol/address.ts";
import { findTool, ROOT } from "../../scripts/tool.ts";
import { startChain, type Chain } from "../fixtures/chain.ts";
import { listen, shut } from "../fixtures/loopback.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

const AMOY = 80002;
const POLYGON = 137;
const DEPLOYER = parseAddress("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const DEPLOYER_TEXT = checksummed(DEPLOYER);
const MULTISIG = "0x1111111111111111111111111111111111111111";
const ANCHORER = "0x2222222222222222222222222222222222222222";
const PARAMETERS = { DMTP: { owner: MULTISIG, anchorer: ANCHORER } };

describe("the parameters of a deployment", () => {
  const target = (chainId: number, ...withCode: string[]): Target => ({
    chainId,
    deployer: DEPLOYER,
    hasCode: (address) => Promise.resolve(withCode.includes(address)),
  });
  const refusalOf = (parameters: unknown, on = target(AMOY)): Promise<string | null> =>
    codeOfAsync(() => checkParameters(parameters, on));

  it("are the deployer twice on a local chain, unless said otherwise", async () => {
    expect(await checkParameters(undefined, target(31337))).to.deep.equal({ owner: DEPLOYER, anchorer: DEPLOYER });
    expect(await checkParameters({ DMTP: { owner: MULTISIG } }, target(31337))).to.deep.equal({
      owner: MULTISIG,
      anchorer: DEPLOYER,
    });
  });

  it("have to be said on any other chain", async () => {
    expect(await checkParameters(PARAMETERS, target(AMOY, MULTISIG))).to.deep.equal(PARAMETERS.DMTP);
    expect(await checkParameters(PARAMETERS, target(AMOY))).to.deep.equal(PARAMETERS.DMTP);
    for (const given of [undefined, { DMTP: {} }, { DMTP: { owner: MULTISIG } }, { DMTP: { anchorer: ANCHORER } }]) {
      expect(await refusalOf(given)).to.equal("DEPLOYMENT_PARAMETER_INVALID");
    }
  });

  it("are refused under a wrong name, which Ignition would pass over", async () => {
    for (const given of [
      { DMTP: { ...PARAMETERS.DMTP, Owner: MULTISIG } },
      { Dmtp: PARAMETERS.DMTP },
      { DMTP: PARAMETERS.DMTP, $global: { owner: MULTISIG } },
      { ...PARAMETERS.DMTP },
      [],
      "DMTP",
    ]) {
      expect(await refusalOf(given), JSON.stringify(given)).to.equal("DEPLOYMENT_PARAMETER_INVALID");
    }
  });

  it("are refused when an address is none, mistyped, zero or still the example's", async () => {
    const { default: example } = await import("../../ignition/parameters.example.json", { with: { type: "json" } });
    expect(await refusalOf(example)).to.equal("DEPLOYMENT_PARAMETER_INVALID");
    for (const address of [`0x${"0".repeat(40)}`, "0xF39fd6e51aad88F6F4ce6aB8827279cffFb92266", "0x11", "", 7, null]) {
      expect(await refusalOf({ DMTP: { owner: address, anchorer: ANCHORER } })).to.equal(
        "DEPLOYMENT_PARAMETER_INVALID",
      );
      expect(await refusalOf({ DMTP: { owner: MULTISIG, anchorer: address } })).to.equal(
        "DEPLOYMENT_PARAMETER_INVALID",
      );
    }
  });

  it("are refused when one account has both roles, or the two are swapped", async () => {
    expect(await refusalOf({ DMTP: { owner: MULTISIG, anchorer: MULTISIG } })).to.equal("DEPLOYMENT_PARAMETER_INVALID");
    const swapped = { DMTP: { owner: ANCHORER, anchorer: MULTISIG } };
    expect(await refusalOf(swapped, target(POLYGON, MULTISIG))).to.equal("DEPLOYMENT_PARAMETER_INVALID");
  });
});

describe("a deployment that stops in the middle", () => {
  /** What becomes of a request: it is answered; the chain never sees it; the chain does, and the answer is lost. */
  type Fate = "answered" | "not sent" | "answer lost";

  let chain: Chain;
  let proxy: Server;
  let url: string;
  let fateOf: (method: string) => Fate;
  let sent: number;
  const unharmed = (): Fate => "answered";
  const deploymentId = `local-test-${process.pid}`;
  const folder = join(hre.config.paths.ignition, "deployments", deploymentId);

  const ask = async (body: string): Promise<string> =>
    (await fetch(chain.url, { method: "POST", headers: { "content-type": "application/json" }, body })).text();
  const request = async (method: string, params: unknown[]): Promise<unknown> =>
    (JSON.parse(await ask(JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }))) as { result: unknown }).result;

  const deploy = async (parameters: typeof PARAMETERS) => {
    const connection = await hre.network.create({ network: "localhost", override: { url, chainId: AMOY } });
    try {
      const { cidStore, keyRegistry } = await connection.ignition.deploy(DMTP, { parameters, deploymentId });
      return {
        cidStore: await cidStore.getAddress(),
        keyRegistry: await keyRegistry.getAddress(),
        owner: (await cidStore.getFunction("owner")()) as string,
        pendingOwner: (await cidStore.getFunction("pendingOwner")()) as string,
        anchorer: (await cidStore.getFunction("anchorer")()) as string,
      };
    } finally {
      await connection.close();
    }
  };

  before(async () => {
    proxy = createServer((incoming, outgoing) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () => {
        const body = Buffer.concat(chunks).toString();
        const { method } = JSON.parse(body) as { method: string };
        if (method === "eth_sendTransaction") sent++;
        const fate = fateOf(method);
        if (fate === "not sent") incoming.socket.destroy();
        else {
          void ask(body).then((answer) => {
            if (fate === "answer lost") incoming.socket.destroy();
            else outgoing.end(answer);
          });
        }
      });
    });
    url = (await listen(proxy)).origin;
  });

  after(() => shut(proxy));

  beforeEach(async () => {
    chain = await startChain({ chainId: AMOY });
    sent = 0;
  });

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
    await chain.stop();
  });

  /** Fails, and leaves a journal that the next run reads. */
  const deployInVain = async (fate: typeof fateOf): Promise<string> => {
    fateOf = fate;
    const failure = await deploy(PARAMETERS).then(
      () => "nothing failed",
      (error: unknown) => String(error),
    );
    expect(failure).not.to.equal("nothing failed");
    expect(existsSync(join(folder, "journal.jsonl"))).to.equal(true);
    fateOf = unharmed;
    return failure;
  };

  /** The contracts are there once, and offered. */
  const expectComplete = async (): Promise<void> => {
    const deployed = await deploy(PARAMETERS);
    expect(deployed).to.include({ owner: DEPLOYER_TEXT, pendingOwner: MULTISIG, anchorer: ANCHORER });
    // Three transactions in all: two contracts and the offer.
    expect(await request("eth_getTransactionCount", [DEPLOYER, "latest"])).to.equal("0x3");
  };

  /** `npx hardhat ignition …`, as an operator types it. */
  const ignition = (...args: string[]): Promise<number | null> =>
    new Promise((resolve, reject) => {
      const env = { ...process.env, LOCALHOST_RPC_URL: chain.url };
      const child = spawn(process.execPath, [findTool("hardhat"), "ignition", ...args], { cwd: ROOT, env });
      child.once("error", reject);
      child.once("close", resolve);
    });

  it("is complete when nothing fails: deployed by one account, offered to another", async () => {
    fateOf = unharmed;
    await expectComplete();
    expect(sent).to.equal(3);
  });

  it("goes on by itself when it stopped between the contracts and the offer", async () => {
    await deployInVain((method) => (method === "eth_estimateGas" && sent === 2 ? "not sent" : "answered"));
    expect(await request("eth_getTransactionCount", [DEPLOYER, "latest"])).to.equal("0x2");
    await expectComplete();
  });

  it("goes on by itself when it stopped after a transaction was sent", async () => {
    await deployInVain((method) => (method === "eth_getTransactionReceipt" && sent === 3 ? "not sent" : "answered"));
    await expectComplete();
  });

  it("asks for the transaction when the answer to sending it was lost, and goes on when it is told", async () => {
    const failure = (): Promise<string> =>
      deploy(PARAMETERS).then(
        () => "",
        (error: unknown) => String(error),
      );
    await deployInVain((method) => (method === "eth_sendTransaction" && sent === 3 ? "answer lost" : "answered"));
    expect(await failure()).to.match(/DMTP#offerOwnership[^]*nonce 2[^]*ignition track-tx/);
    const block = (await request("eth_getBlockByNumber", ["latest", false])) as { transactions: string[] };
    expect(await ignition("track-tx", block.transactions[0]!, deploymentId, "--network", "localhost")).to.equal(0);
    await expectComplete();
  });

  it("goes on when the transaction never was sent and the step has been wiped", async () => {
    await deployInVain((method) => (method === "eth_sendTransaction" && sent === 3 ? "not sent" : "answered"));
    expect(await ignition("wipe", deploymentId, "DMTP#offerOwnership")).to.equal(0);
    await expectComplete();
  });

  it("is not resumed with other parameters", async () => {
    await deployInVain((method) => (method === "eth_estimateGas" && sent === 2 ? "not sent" : "answered"));
    const failure = await deploy({ DMTP: { owner: MULTISIG, anchorer: MULTISIG } }).then(
      () => "",
      (error: unknown) => String(error),
    );
    expect(failure).to.match(/reconcil/i);
  });
});

describe("the create2 strategy", () => {
  const CREATE_X = "0xba5Ed099633D3B313e4D5F7bdc1305d3c28ba5Ed";

  it("gives both contracts the same addresses on every chain, for the same deployer and anchorer", async () => {
    // On its own chain Ignition deploys CreateX, of which it ships the bytes; the others are given the same code.
    const local = await hre.network.create();
    const { strategyConfig } = hre.config.ignition;
    const options = { strategy: "create2", strategyConfig: strategyConfig!.create2! } as const;
    const addressesOn = async (connection: typeof local, anchorer: string): Promise<string[]> => {
      const parameters = { DMTP: { owner: MULTISIG, anchorer } };
      const { keyRegistry, cidStore } = await connection.ignition.deploy(DMTP, { ...options, parameters });
      expect(await cidStore.getFunction("owner")()).to.equal(DEPLOYER_TEXT);
      expect(await cidStore.getFunction("pendingOwner")()).to.equal(MULTISIG);
      return [await keyRegistry.getAddress(), await cidStore.getAddress()];
    };
    const here = await addressesOn(local, ANCHORER);
    const code = await local.ethers.provider.getCode(CREATE_X);
    await local.close();

    for (const chainId of [POLYGON, AMOY]) {
      const there = await hre.network.create({ network: "default", override: { chainId } });
      await there.provider.request({ method: "hardhat_setCode", params: [CREATE_X, code] });
      // Other transactions before don't matter.
      await there.provider.request({ method: "hardhat_setNonce", params: [DEPLOYER, "0x7"] });
      expect(await addressesOn(there, ANCHORER)).to.deep.equal(here);
      await there.close();
    }
    const other = await hre.network.create();
    const [registry, store] = await addressesOn(other, MULTISIG);
    expect(registry).to.equal(here[0]);
    expect(store).not.to.equal(here[1]);
    await other.close();
  });

  it("stops on a chain without CreateX", async () => {
    const there = await hre.network.create({ network: "default", override: { chainId: POLYGON } });
    const { strategyConfig } = hre.config.ignition;
    const failure = await there.ignition
      .deploy(DMTP, { strategy: "create2", strategyConfig: strategyConfig!.create2!, parameters: PARAMETERS })
      .then(
        () => "",
        (error: unknown) => String(error),
      );
    await there.close();
    expect(failure).to.contain("CreateX");
  });
});
