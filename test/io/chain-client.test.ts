import { expect } from "chai";
import { Contract, Interface, type HDNodeWallet } from "ethers";

import { cidStoreInterface, keyRegistryInterface } from "../../io/chain/contracts.ts";
import { ChainClient } from "../../io/chain/client.ts";
import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { providerRpc } from "../../io/chain/rpc/provider-rpc.ts";
import { readStatus, walletOf } from "../../io/chain/transactions/writer.ts";
import { sendRegister, sendRevoke } from "../fixtures/registry-transactions.ts";
import { parseAddress } from "../../protocol/address.ts";
import { bindingRequest, isBindingSigned, type KeyBinding } from "../../protocol/binding.ts";
import { fromHex, toHex } from "../../protocol/bytes.ts";
import { cidOfDigest } from "../../protocol/cid.ts";
import { identityOfSeed } from "../../protocol/identity.ts";
import { KeyDirectory } from "../../protocol/keys.ts";
import { sendAnchor } from "../fixtures/anchor.ts";
import { deploy, readArtifact, startChain, type Chain, type Deployed } from "../fixtures/chain.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const ZERO = new Uint8Array(32);

describe("The contracts' interfaces in io/", () => {
  for (const [name, ours] of [
    ["CIDStore", cidStoreInterface],
    ["KeyRegistry", keyRegistryInterface],
  ] as const) {
    it(`say of ${name} only what the compiled contract says`, () => {
      const compiled = new Interface(readArtifact(name).abi);
      const lines = new Set(
        compiled.fragments
          .filter(({ type }) => ["function", "event", "error"].includes(type))
          .map((fragment) => fragment.format("sighash") + fragment.type),
      );
      for (const fragment of ours.fragments) expect(lines).to.include(fragment.format("sighash") + fragment.type);
      ours.forEachEvent((event) => {
        const other = compiled.getEvent(event.topicHash);
        expect(event.inputs.map(({ indexed, name }) => [indexed === true, name])).to.deep.equal(
          other?.inputs.map(({ indexed, name }) => [indexed === true, name]),
        );
      });
      ours.forEachFunction((call) => {
        const other = compiled.getFunction(call.selector);
        expect(call.outputs.map((output) => output.format("sighash"))).to.deep.equal(
          other?.outputs.map((output) => output.format("sighash")),
        );
      });
    });
  }
});

describe("The chain client and writer, on a real chain", function () {
  this.timeout(60_000);
  let chain: Chain;
  let deployed: Deployed;
  let reader: ChainClient;

  before(async () => {
    chain = await startChain();
    deployed = await deploy(chain.url);
    reader = await ChainClient.open([httpRpc(chain.url)], deployed.deployment);
  });
  after(async () => {
    // Undefined when the chain did not start.
    (deployed as Deployed | undefined)?.close();
    await (chain as Chain | undefined)?.stop();
  });

  /** A wallet's next key, bound by its own signature. */
  async function register(signer: HDNodeWallet, version: number): Promise<KeyBinding> {
    const { encryptionKey, signingKey } = identityOfSeed(fixedBytes(`${signer.address} ${version}`));
    const wallet = await walletOf(signer);
    const binding: KeyBinding = {
      wallet: wallet.address,
      version,
      encryptionKey,
      signingKey,
      document: fixedBytes(`document ${version}`),
      deadline: 2_000_000_000,
    };
    const signature = fromHex(await wallet.signTypedData(bindingRequest(deployed.deployment, binding)));
    expect(isBindingSigned(deployed.deployment, binding, signature)).to.equal(true);
    const receipt = await sendRegister(signer, deployed.deployment, binding, signature);
    expect(receipt.gasUsed > 0n).to.equal(true);
    return binding;
  }

  it("knows the deployment, its first block, and an empty history", async () => {
    expect(reader.deployment).to.deep.equal(deployed.deployment);
    expect(reader.startBlock).to.equal(1);
    const { events, head } = await reader.allEvents();
    expect(events).to.deep.equal([]);
    expect(head.block.number).to.equal(2);
    expect(head.block.parentHash).to.equal((await reader.block(1))?.hash);
    expect(await reader.block(1_000)).to.equal(null);
    expect(await reader.entryHead()).to.deep.include({ count: 0, head: ZERO });
    expect((await readStatus(reader)).lastAnchor).to.equal(null);
  });

  it("reads registrations, revocations, anchors and verbatim texts back in chain order, all of them", async () => {
    const { deployment, owner, anchorer, signers } = deployed;
    const [, , alice, bob] = signers as [HDNodeWallet, HDNodeWallet, HDNodeWallet, HDNodeWallet];
    const store = new Contract(deployment.cidStore, cidStoreInterface, owner);
    const storeCID = async (text: string): Promise<void> => {
      const response = (await store.getFunction("storeCID").send(text)) as { wait(): Promise<unknown> };
      await response.wait();
    };
    const zeroCid = cidOfDigest(ZERO);

    const binding = await register(alice, 1);
    await register(bob, 1);
    const first = await sendAnchor(anchorer, deployment, ZERO, fixedBytes("one"));
    await sendRevoke(alice, deployment);
    await storeCID("ipfs://hello ☃");
    await storeCID(cidOfDigest(fixedBytes("three")));
    await storeCID(zeroCid);
    await register(alice, 3);
    expect(first.index).to.equal(0);

    const { events } = await reader.allEvents();
    expect(events.map(({ kind, index }) => `${kind} ${index}`)).to.deep.equal([
      ...["key 0", "key 1", "anchor 0", "revocation 2", "anchor 1", "anchor 2", "anchor 3", "key 3"],
    ]);
    const anchors = events.filter((event) => event.kind === "anchor");
    expect(anchors.map(({ cid, text }) => [cid, text])).to.deep.equal([
      [cidOfDigest(fixedBytes("one")), cidOfDigest(fixedBytes("one"))],
      [null, "ipfs://hello ☃"],
      [cidOfDigest(fixedBytes("three")), cidOfDigest(fixedBytes("three"))],
      [null, zeroCid],
    ]);
    for (const { index, text } of anchors) expect(await store.getFunction("cids").staticCall(index)).to.equal(text);
    expect(anchors[0]?.transactionHash).to.equal(first.transactionHash);
    expect(anchors[0]?.blockNumber).to.equal(first.blockNumber);
    const [key] = events;
    expect(key).to.deep.include({ ...binding, deadline: BigInt(binding.deadline), kind: "key", hasCode: false });

    const keys = new KeyDirectory(deployment);
    for (const event of events) if (event.kind !== "anchor") keys.add(event);
    expect(keys.current(binding.wallet).status).to.equal("usable");
    expect(keys.find(binding.wallet, 1, { blockNumber: Infinity, logIndex: 0 }).status).to.equal("revoked");
  });

  it("reads a part of the history, and an earlier state of it", async () => {
    const { events, head } = await reader.allEvents();
    const middle = events[3]?.blockNumber ?? 0;
    const before = { anchors: 1, keys: 3 };
    expect((await reader.newEvents(middle + 1, head, before)).events).to.deep.equal(events.slice(4));
    expect((await reader.allEvents(middle)).events).to.deep.equal(events.slice(0, 4));
  });

  it("reads one wallet's history without the rest", async () => {
    const [, , alice, bob] = deployed.signers as [HDNodeWallet, HDNodeWallet, HDNodeWallet, HDNodeWallet];
    const { events } = await reader.allEvents();
    const own = events.filter((event) => event.kind !== "anchor" && event.wallet === alice.address.toLowerCase());
    expect(await reader.walletEvents(parseAddress(alice.address))).to.deep.equal(own);
    expect(own.length).to.equal(3);
    expect((await reader.walletEvents(parseAddress(bob.address))).length).to.equal(1);
    expect(await reader.walletEvents(parseAddress(deployed.owner.address))).to.deep.equal([]);
  });

  it("says who may write, what they have, and what was written last", async () => {
    const { owner, anchorer } = deployed;
    const status = await readStatus(reader);
    const { events } = await reader.allEvents();
    const last = events.findLast((event) => event.kind === "anchor");
    expect(status.owner).to.equal(owner.address.toLowerCase());
    expect(status.anchorer).to.equal(anchorer.address.toLowerCase());
    expect(status.anchors).to.equal(4);
    expect(status.head).to.equal(toHex((await reader.entryHead()).head));
    expect(status.ownerBalance > 0n && status.anchorerBalance > 0n).to.equal(true);
    expect(status.lastAnchor).to.deep.equal({
      index: 3,
      text: last?.text,
      blockNumber: last?.blockNumber,
      transactionHash: last?.transactionHash,
      timestamp: (await reader.block(last?.blockNumber ?? 0))?.timestamp,
    });
  });

  it("keeps reading when a verbatim text is not UTF-8", async () => {
    const { deployment, owner } = deployed;
    const data = cidStoreInterface.encodeFunctionData("storeCID", ["abcd"]).replace("61626364", "ff00fe64");
    await (await owner.sendTransaction({ to: deployment.cidStore, data })).wait();
    const { events } = await reader.allEvents();
    expect(events.at(-1)).to.deep.include({ kind: "anchor", cid: null, text: "\ufffd\0\ufffdd" });
  });

  it("refuses a registration that cannot be paid and a revocation of nothing; none is sent", async () => {
    const { deployment, owner, signers, provider } = deployed;
    const block = await provider.getBlockNumber();
    const [, , , , poor] = signers as HDNodeWallet[] as [unknown, unknown, unknown, unknown, HDNodeWallet];
    await provider.send("anvil_setBalance", [poor.address, "0x1"]);
    expect(await codeOfAsync(() => register(poor, 1))).to.equal("FUNDS_INSUFFICIENT");
    expect(await codeOfAsync(() => sendRevoke(owner, deployment))).to.equal("TRANSACTION_FAILED");
    expect(await provider.getBlockNumber()).to.equal(block);
  });

  it("refuses another chain id, an address without code, swapped contracts and another contract", async () => {
    const { cidStore, keyRegistry } = deployed.deployment;
    const rpcs = [httpRpc(chain.url)];
    const nobody = parseAddress(`0x${"9".repeat(40)}`);
    const open = (addresses: Parameters<typeof ChainClient.open>[1], chainId?: number) =>
      codeOfAsync(() => ChainClient.open(rpcs, addresses, { chainId }));
    expect(await open({ cidStore, keyRegistry }, 137)).to.equal("CHAIN_ID_WRONG");
    expect(await open({ cidStore: nobody, keyRegistry })).to.equal("CONTRACT_MISSING");
    expect(await open({ cidStore, keyRegistry: nobody })).to.equal("CONTRACT_MISSING");
    expect(await open({ cidStore: keyRegistry, keyRegistry: cidStore })).to.equal("CONTRACT_WRONG");
    expect(await open({ cidStore, keyRegistry: cidStore })).to.equal("CONTRACT_WRONG");
    expect(await open({ cidStore, keyRegistry }, 31337)).to.equal(null);
    expect(
      await codeOfAsync(() => ChainClient.open([httpRpc("http://127.0.0.1:9")], { cidStore, keyRegistry })),
    ).to.equal("CHAIN_UNREACHABLE");
  });

  it("reads the same through an EIP-1193 provider", async () => {
    const provider = {
      request: ({ method, params }: { method: string; params?: unknown[] }) =>
        deployed.provider.send(method, params ?? []) as Promise<unknown>,
    };
    const other = await ChainClient.open([providerRpc(provider, "hardhat")], deployed.deployment);
    expect((await other.allEvents()).events).to.deep.equal((await reader.allEvents()).events);
  });

  it("agrees with itself as two nodes, and refuses two chains that differ", async () => {
    const { deployment } = deployed;
    const both = await ChainClient.open([httpRpc(chain.url), httpRpc(chain.url)], deployment);
    expect((await both.allEvents()).events).to.deep.equal((await reader.allEvents()).events);

    // Another clock: two chains that start within one second have the same blocks.
    const second = await startChain({ args: ["--timestamp", "1700000000"] });
    try {
      const fork = await deploy(second.url);
      fork.close();
      expect(fork.deployment).to.deep.equal(deployment);
      const open = (): Promise<ChainClient> =>
        ChainClient.open([httpRpc(chain.url), httpRpc(second.url)], deployment, { chainId: 31337 });
      expect(await codeOfAsync(open)).to.equal("CHAIN_DISAGREES");
    } finally {
      await second.stop();
    }
  });

  it("sees a reorg: the events of the replaced blocks are gone", async () => {
    const { deployment, anchorer, provider } = deployed;
    const before = await reader.allEvents();
    const snapshot = (await provider.send("evm_snapshot", [])) as string;
    const { head } = await reader.entryHead();
    await sendAnchor(anchorer, deployment, head, fixedBytes("to be replaced"));
    expect((await reader.allEvents()).events.length).to.equal(before.events.length + 1);
    await provider.send("evm_revert", [snapshot]);
    expect((await reader.allEvents()).events).to.deep.equal(before.events);
  });

  it("takes what is below the finalized tag as final, and never more than there is", async () => {
    const { provider } = deployed;
    expect((await reader.head()).finalized).to.equal(0);
    await provider.send("anvil_mine", ["0x80"]);
    const { block, finalized } = await reader.head();
    expect(finalized).to.be.within(1, block.number - 1);
  });
});
