import { writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

import { expect } from "chai";
import { AbiCoder, keccak256 } from "ethers";
import hre from "hardhat";

import { ChainClient } from "../../io/chain/client.ts";
import { keyRegistryInterface } from "../../io/chain/contracts.ts";
import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { checksummed, type Address } from "../../protocol/address.ts";
import { toHex } from "../../protocol/bytes.ts";
import { cidOf, digestOfCid, type Cid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { identityOfSeed, type Identity } from "../../protocol/identity.ts";
import { encodeKeyDocument } from "../../protocol/key-document.ts";
import { draftManifest } from "../../protocol/manifest.ts";
import { roomKeyOf, sealMessage } from "../../protocol/message.ts";
import { roomIdOf } from "../../protocol/room.ts";
import { accountsOf } from "../../tasks/accounts.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import { history } from "../../tasks/history.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { sendAnchor } from "../fixtures/anchor.ts";
import { startChain, type Chain } from "../fixtures/chain.ts";
import { runLocalCommand, type Ending } from "../fixtures/command.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { startIndexerProcess } from "../fixtures/indexer-process.ts";
import { startPlainNode } from "../fixtures/plain-node.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

/** Where `_histories` lies in KeyRegistry, and the mark in a wallet's first word that it has signed. */
const HISTORIES_SLOT = 3;
const HAS_SIGNED = 1n << 240n;

function outcome(verdict: unknown): string {
  const { status, code } = verdict as { status: string; code?: string };
  return code ?? status;
}

/**
 * A node that lies about a wallet, as whoever runs it can: it is a fork of the honest one, so its blocks, logs and views go together,
 * and its registry has forgotten that the wallet signed.
 */
describe("a node that invents a key", function () {
  this.timeout(240_000);
  let honest: Chain;
  let lying: Chain;
  let chain: TestDeployment;
  let session: Session;
  let believer: Session;
  const mallory = identityOfSeed(fixedBytes("Mallory"));
  const connections: { close(): Promise<void> }[] = [];

  before(async () => {
    honest = await startChain();
    const connection = await hre.network.create({ network: "localhost", override: { url: honest.url } });
    chain = await openDeployment(connection, httpRpc(honest.url));
    session = chain.open();
    await register(session, chain.alice);
    await register(session, chain.bob);
    await send(session, chain.bob, [{ to: chain.alice, content: contentOfText("It is me, Bob.") }]);
    await anchor(session);

    lying = await startPlainNode(await startChain({ args: ["--fork-url", honest.url, "--no-storage-caching"] }));
    const lyingConnection = await hre.network.create({ network: "localhost", override: { url: lying.url } });
    connections.push(lyingConnection);
    await forgetSignature(lying, chain.bob);
    await registerUnsigned(lying, chain.bob, 2, mallory);
    const rpc = httpRpc(lying.url);
    const reader = await ChainClient.open([rpc], session.deployment);
    const signers = await lyingConnection.ethers.getSigners();
    const accounts = await accountsOf(lyingConnection.networkConfig, rpc);
    believer = chain.open({
      rpc,
      reader,
      signers: () => Promise.resolve(signers),
      accounts: () => Promise.resolve(accounts),
    });
  });

  after(async () => {
    await session.close();
    await believer.close();
    for (const connection of connections) await connection.close();
    await chain.close();
    await lying.stop();
    await honest.stop();
  });

  const ask = ({ url }: Chain, method: string, ...params: unknown[]): Promise<unknown> =>
    httpRpc(url).request({ method, params });

  function run(node: Chain, args: readonly string[], variables: NodeJS.ProcessEnv = {}): Promise<Ending> {
    const place = { url: node.url, deployment: session.deployment, dataDir: chain.dataDir };
    return runLocalCommand(place, args, variables);
  }

  async function forgetSignature(node: Chain, wallet: Address): Promise<void> {
    const slot = keccak256(AbiCoder.defaultAbiCoder().encode(["address", "uint256"], [wallet, HISTORIES_SLOT]));
    const { keyRegistry } = session.deployment;
    const word = BigInt((await ask(node, "eth_getStorageAt", keyRegistry, slot, "latest")) as string);
    expect(word & HAS_SIGNED, "the mark of a wallet that signed").to.equal(HAS_SIGNED);
    const without = `0x${(word ^ HAS_SIGNED).toString(16).padStart(64, "0")}`;
    await ask(node, "anvil_setStorageAt", keyRegistry, slot, without);
  }

  /** The wallet has code and calls the registry itself; its document is where all documents are. */
  async function registerUnsigned(node: Chain, wallet: Address, version: number, identity: Identity): Promise<void> {
    const { chainId, keyRegistry } = session.deployment;
    const { encryptionKey, signingKey } = identity;
    const sealed = { method: "wallet", salt: fixedBytes("salt"), ciphertext: new Uint8Array(48) } as const;
    const keys = { chainId, keyRegistry, wallet, version, encryptionKey, signingKey };
    const bytes = encodeKeyDocument({ ...keys, sealed });
    await session.content.put([{ cid: cidOf(bytes), bytes }]);
    const document = toHex(digestOfCid(cidOf(bytes)));
    const args = [toHex(encryptionKey), toHex(signingKey), document, 1, "0x"];
    await ask(node, "anvil_setCode", wallet, "0x00");
    await ask(node, "anvil_impersonateAccount", wallet);
    const data = keyRegistryInterface.encodeFunctionData("register", args);
    const hash = await ask(node, "eth_sendTransaction", { from: wallet, to: keyRegistry, data, gas: "0x100000" });
    while ((await ask(node, "eth_getTransactionReceipt", hash)) === null) await setTimeout(50);
    await ask(node, "anvil_stopImpersonatingAccount", wallet);
    const lastVersion = keyRegistryInterface.encodeFunctionData("versionCount", [wallet]);
    expect(Number(await ask(node, "eth_call", { to: keyRegistry, data: lastVersion }, "latest"))).to.equal(version);
  }

  /** A message to Alice by whoever has this key, anchored where `writer` reads the chain. */
  async function writeAs(writer: Session, wallet: Address, keyVersion: number, identity: Identity): Promise<Cid> {
    const { deployment } = session;
    const keys = await writer.readKeys(chain.alice);
    const alice = keys.current(chain.alice);
    if (alice.status !== "usable") throw new Error("Alice has no key");
    const room = roomIdOf(deployment, chain.alice, wallet);
    const own = { wallet, version: keyVersion, encryptionKey: identity.encryptionKey };
    const { version, encryptionKey } = alice.key.event;
    const peer = { wallet: chain.alice, version, encryptionKey };
    const header = {
      v: 1 as const,
      room,
      sender: wallet,
      receiver: chain.alice,
      senderKeyVersion: keyVersion,
      receiverKeyVersion: version,
      seq: 1,
      seen: [],
      timestamp: Date.now(),
      nonce: fixedBytes("nonce"),
    };
    const content = contentOfText("Please send the money to my new account.");
    const envelope = sealMessage(roomKeyOf(deployment, room, identity, own, peer), identity.signer, header, content);
    const block = encodeEnvelope(envelope);
    const cid = cidOf(block);
    // Past the anchor command, which pays for nothing that readers reject.
    const draft = draftManifest(null, new Map([[room, [cid]]]));
    await writer.content.put([{ cid, bytes: block }, ...draft.blocks]);
    const { signer } = await writer.signer(chain.operator);
    const { head } = await writer.reader.entryHead();
    await sendAnchor(signer, deployment, head, digestOfCid(draft.cid));
    return cid;
  }

  it("gets no message for the wallet that it lies about, whatever the sender accepts", async () => {
    for (const option of [[], ["--accept-contract-wallet", chain.bob]]) {
      const sent = await run(lying, ["send", "--from", chain.alice, "--to", chain.bob, "--text", "at nine", ...option]);
      expect(sent.stderr).to.contain("error[RECEIVER_KEY_INVALID]").and.to.contain("BINDING_INVALID");
      expect(sent.code).to.equal(65);
    }
  });

  it("is found out by another node that a command is told to ask as well", async () => {
    await ask(honest, "anvil_mine", "0x10");
    const variables = { RPC_URL: `${honest.url},${lying.url}` };
    for (const node of [honest, lying]) {
      const sent = await run(node, ["send", "--from", chain.alice, "--to", chain.bob, "--text", "at nine"], variables);
      expect([sent.code, sent.stderr], sent.stderr).to.satisfy(([code, said]: [number, string]) => {
        return code === 65 && said.includes("error[CHAIN_DISAGREES]");
      });
    }
    const audited = await run(honest, ["audit"], variables);
    expect(audited.stderr).to.contain("error[CHAIN_DISAGREES]");
  });

  it("makes history show what it forged as rejected, and nothing of what it says", async () => {
    const cid = await writeAs(believer, chain.bob, 2, mallory);
    const shown = await run(lying, ["history", "--from", chain.alice, "--with", chain.bob]);
    expect(shown.stdout).to.contain("It is me, Bob.").and.to.contain("KEY_REJECTED").and.not.to.contain("the money");
    expect(shown.code).to.equal(65);
    const audited = await run(lying, ["audit", "--json"]);
    expect(audited.code).to.equal(65);
    expect(JSON.parse(audited.stdout)).to.have.nested.include({ "messages.verified": 1, "messages.rejected": 1 });
    expect((await run(lying, ["audit"])).stdout).to.contain(`message ${cid}`);

    const indexer = await startIndexerProcess(lying.url, session.deployment, chain.dataDir);
    try {
      const get = async (path: string): Promise<{ items: Record<string, unknown>[] }> =>
        (await fetch(`${indexer.url}${path}`)).json() as Promise<{ items: Record<string, unknown>[] }>;
      const room = roomIdOf(session.deployment, chain.alice, chain.bob);
      const { items } = await get(`/v1/rooms/${room}/messages`);
      expect(items.map(({ binding, verdict }) => [binding, outcome(verdict)])).to.deep.equal([
        ["signature", "verified"],
        ["chain", "KEY_REJECTED"],
      ]);
      const keys = await get(`/v1/wallets/${chain.bob}/keys`);
      expect(keys.items.map(({ binding, verdict }) => [binding, outcome(verdict)])).to.deep.equal([
        ["signature", "verified"],
        ["chain", "BINDING_INVALID"],
      ]);
    } finally {
      await indexer.stop();
    }
  });

  describe("and a wallet for which nodes alone vouch", () => {
    const mailTo = (to: Address, ...more: string[]): string[] => [
      ...["send", "--from", chain.alice, "--to", to, "--text", "hello"],
      ...more,
    ];

    before(async () => {
      await registerUnsigned(honest, chain.carol, 1, identityOfSeed(fixedBytes("Carol's contract")));
    });

    it("is written to when the user has said so once, for that very key", async () => {
      const refused = await run(honest, mailTo(chain.carol));
      expect([refused.code, refused.stdout]).to.deep.equal([1, ""]);
      expect(refused.stderr).to.contain("error[RECEIVER_KEY_UNSIGNED]").and.to.contain(checksummed(chain.carol));

      const accepted = await run(honest, mailTo(chain.carol, "--accept-contract-wallet", chain.carol));
      expect(accepted.code, accepted.stderr).to.equal(0);
      expect(accepted.stderr).to.contain("warning[RECEIVER_KEY_UNSIGNED]").and.to.contain("one node alone");

      const again = (): Promise<unknown> =>
        send(session, chain.alice, [{ to: chain.carol, content: contentOfText("hello again") }]);
      await again();
      await registerUnsigned(honest, chain.carol, 2, identityOfSeed(fixedBytes("Carol's next")));
      expect(await codeOfAsync(again)).to.equal("RECEIVER_KEY_UNSIGNED");
    });

    it("is shown as such wherever its messages are", async () => {
      await writeAs(session, chain.carol, 1, identityOfSeed(fixedBytes("Carol's contract")));
      const shown = await history(session, chain.carol, chain.alice);
      expect(shown.text).to.match(/\[verified, .*, key by the chain's word alone\]/);
      const { messages } = shown.data as { messages: { sender: string; binding: string }[] };
      expect(messages.map(({ sender, binding }) => [sender, binding])).to.deep.equal([
        [checksummed(chain.carol), "chain"],
        [checksummed(chain.alice), "signature"],
        [checksummed(chain.alice), "signature"],
      ]);
      const audited = await audit(session);
      expect(audited.data).to.deep.include({ unsigned: { keys: 2, messages: 1 } });
      expect(audited.text).to.contain("2 keys and 1 message by the chain's word alone");
    });

    it("is not accepted by a word for another one in the same batch: nothing is sent until each is named", async () => {
      await registerUnsigned(honest, chain.operator, 1, identityOfSeed(fixedBytes("another contract")));
      const batch = `${chain.dataDir}/batch.jsonl`;
      const lines = [chain.carol, chain.operator].map((to) => JSON.stringify({ to, text: "hello" }));
      writeFileSync(batch, lines.join("\n"));
      const sendBatch = (accepted: readonly Address[]): Promise<Ending> =>
        run(honest, [
          ...["send", "--from", chain.alice, "--batch", batch],
          ...["--accept-contract-wallet", accepted.join(",")],
        ]);
      const before = session.mailbox.counts().unanchored;
      const refused = await sendBatch([chain.carol]);
      expect([refused.code, refused.stdout]).to.deep.equal([1, ""]);
      expect(refused.stderr).to.contain("error[RECEIVER_KEY_UNSIGNED]").and.to.contain(checksummed(chain.operator));
      expect(session.mailbox.counts().unanchored).to.equal(before);
      const sent = await sendBatch([chain.carol, chain.operator]);
      expect(sent.code, sent.stderr).to.equal(0);
      expect(session.mailbox.counts().unanchored).to.equal(before + 2);
    });
  });
});
