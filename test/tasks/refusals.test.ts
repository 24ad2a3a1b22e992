import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";
import { Interface } from "ethers/abi";

import { walletOf } from "../../io/chain/transactions/writer.ts";
import { checksummed, ZERO_ADDRESS, type Address } from "../../protocol/address.ts";
import { bindingRequest } from "../../protocol/binding.ts";
import { fromHex, toHex } from "../../protocol/bytes.ts";
import { cidOf, cidOfDigest, digestOfCid } from "../../protocol/cid.ts";
import { contentOfText, MAX_BODY_BYTES } from "../../protocol/content.ts";
import { identityOfSeed } from "../../protocol/identity.ts";
import { decodeKeyDocument, encodeKeyDocument } from "../../protocol/key-document.ts";
import { anchor } from "../../tasks/anchor.ts";
import { DEFAULT_OPTIONS } from "../../tasks/anchor-options.ts";
import { readDrafts } from "../../tasks/draft.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { fixedBytes } from "../fixtures/wallet.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

const HELLO = contentOfText("hello");
const registry = new Interface([
  "function register(bytes32 encryptionKey, bytes32 signingKey, bytes32 document, uint256 deadline, bytes signature)",
  "function revoke()",
]);

describe("send refuses before anything is stored", () => {
  let chain: TestDeployment;
  let session: Session;

  before(async () => {
    chain = await openDeployment();
    session = chain.open();
    await register(session, chain.alice);
    await register(session, chain.bob);
  });

  afterEach(() => {
    expect(session.mailbox.counts().messages).to.equal(0);
  });

  after(async () => {
    await session.close();
    await chain.close();
  });

  const sendTo = (to: Address, from: Address = chain.alice): Promise<string | null> =>
    codeOfAsync(() => send(session, from, [{ to, content: HELLO }]));

  it("a receiver that is not registered, the zero address, or the sender", async () => {
    expect(await sendTo(chain.carol)).to.equal("RECEIVER_UNREGISTERED");
    expect(await sendTo(ZERO_ADDRESS)).to.equal("RECEIVER_ZERO");
    expect(await sendTo(chain.alice)).to.equal("RECEIVER_IS_SENDER");
  });

  it("a sender that is not registered, or not an account of the network", async () => {
    expect(await sendTo(chain.bob, chain.carol)).to.equal("SENDER_UNREGISTERED");
    expect(await sendTo(chain.bob, ZERO_ADDRESS)).to.equal("ACCOUNT_UNKNOWN");
  });

  it("addresses with a bad checksum, 39 digits, or that are names", async () => {
    const right = checksummed(chain.bob);
    const wrong = right.replace(/[a-f]/, (digit) => digit.toUpperCase());
    for (const to of [wrong, right.slice(0, -1), "bob.eth", "0x", ""]) {
      expect(await codeOfAsync(() => readDrafts({ to, text: "hi", file: undefined, batch: undefined })), to).to.equal(
        "ADDRESS_INVALID",
      );
    }
  });

  it("an empty text, one over the limit, and one with half a surrogate pair", async () => {
    const read = (text: string): Promise<string | null> =>
      codeOfAsync(() => readDrafts({ to: chain.bob, text, file: undefined, batch: undefined }));
    expect(await read("")).to.equal("TEXT_EMPTY");
    expect(await read("x".repeat(MAX_BODY_BYTES + 1))).to.equal("TEXT_TOO_LONG");
    expect(await read("half \ud83d")).to.equal("TEXT_NOT_UNICODE");
  });

  it("a file that is not there or not UTF-8, two sources at once, and no receiver", async () => {
    const file = join(chain.dataDir, "latin1.txt");
    await writeFile(file, Buffer.from([0x47, 0x72, 0xfc, 0xdf]));
    const none = { to: chain.bob, text: undefined, file: undefined, batch: undefined };
    expect(await codeOfAsync(() => readDrafts({ ...none, file }))).to.equal("TEXT_NOT_UNICODE");
    expect(await codeOfAsync(() => readDrafts({ ...none, file: `${file}.none` }))).to.equal("FILE_UNREADABLE");
    expect(await codeOfAsync(() => readDrafts({ ...none, file, text: "hi" }))).to.equal("OPTION_INVALID");
    expect(await codeOfAsync(() => readDrafts({ ...none, to: undefined, text: "hi" }))).to.equal("OPTION_INVALID");
  });

  it("a whole batch for one bad line, which it names", async () => {
    const batch = join(chain.dataDir, "batch.jsonl");
    const good = JSON.stringify({ to: chain.bob, text: "good" });
    for (const bad of [
      "{",
      JSON.stringify({ to: "0x12", text: "x" }),
      JSON.stringify({ to: chain.bob, text: "x", cc: "y" }),
    ]) {
      await writeFile(batch, `${good}\n\n${bad}\n${good}\n`);
      let message = "";
      const code = await codeOfAsync(async () => {
        try {
          await readDrafts({ to: undefined, text: undefined, file: undefined, batch });
        } catch (error) {
          message = (error as Error).message;
          throw error;
        }
      });
      expect(code).to.equal("BATCH_LINE_INVALID");
      expect(message).to.match(/^line 3:/);
    }
  });

  it("a whole batch for one receiver that is not registered", async () => {
    const drafts = [chain.bob, chain.carol].map((to) => ({ to, content: HELLO }));
    expect(await codeOfAsync(() => send(session, chain.alice, drafts))).to.equal("RECEIVER_UNREGISTERED");
  });

  it("a whole batch for all that can't be written to, each with its lines", async () => {
    const drafts = [chain.carol, chain.bob, ZERO_ADDRESS, chain.carol].map((to, i) => ({
      to,
      content: HELLO,
      line: i + 1,
    }));
    const refused = await send(session, chain.alice, drafts).catch((error: unknown) => error);
    expect(refused).to.include({
      code: "RECEIVER_UNREGISTERED",
      message: `${checksummed(chain.carol)} has no DMTP key (line 1, 4); the receiver is the zero address (line 3)`,
    });
  });

  it("a receiver whose key document is missing, or is other bytes", async () => {
    const [event] = await session.reader.walletEvents(chain.bob);
    const digest = event?.kind === "key" ? event.document : new Uint8Array(32);
    const cid = cidOfDigest(digest);
    const block = await session.content.get(cid);
    const database = new Database(join(session.folder, "blocks", "blocks.db"));
    database.prepare("UPDATE blocks SET bytes = x'a0' WHERE digest = ?").run(digest);
    expect(await sendTo(chain.bob)).to.equal("CONTENT_MISSING");
    database.prepare("DELETE FROM blocks WHERE digest = ?").run(digest);
    expect(await sendTo(chain.bob)).to.equal("CONTENT_MISSING");
    database.close();
    await session.content.put([{ cid, bytes: block ?? new Uint8Array(0) }]);
  });

  describe("a receiver whose registered key", () => {
    interface Change {
      readonly wallet?: Address;
      readonly document?: (block: Uint8Array) => Uint8Array;
      readonly signature?: (signature: Uint8Array) => Uint8Array;
      readonly signingKey?: Uint8Array;
    }

    /** Carol registers a key of a fixed seed, with something changed that an honest wallet would not change. */
    const registerCarol = async (change: Change): Promise<void> => {
      const { deployment } = session;
      const { signer } = await session.signer(chain.carol);
      const wallet = await walletOf(signer);
      const version = (await session.reader.walletEvents(chain.carol)).length + 1;
      const { encryptionKey, signingKey } = { ...identityOfSeed(fixedBytes("carol")), ...change };
      const sealed = { method: "wallet", salt: fixedBytes("salt"), ciphertext: new Uint8Array(48) } as const;
      const honest = encodeKeyDocument({
        ...deployment,
        wallet: change.wallet ?? chain.carol,
        version,
        encryptionKey,
        signingKey,
        sealed,
      });
      const block = change.document?.(honest) ?? honest;
      await session.content.put([{ cid: cidOf(block), bytes: block }]);
      const document = digestOfCid(cidOf(block));
      const deadline = 4_102_444_800;
      const binding = { wallet: chain.carol, version, encryptionKey, signingKey, document, deadline };
      const signed = fromHex(await wallet.signTypedData(bindingRequest(deployment, binding)));
      const signature = change.signature?.(signed) ?? signed;
      const args = [encryptionKey, signingKey, document, deadline, toHex(signature)];
      const data = registry.encodeFunctionData("register", args);
      await (await signer.sendTransaction({ to: deployment.keyRegistry, data })).wait();
    };

    it("was not signed by its wallet is none: the contract refuses it", async () => {
      for (const change of [() => new Uint8Array(0), (bytes: Uint8Array) => bytes.with(5, (bytes[5] ?? 0) ^ 1)]) {
        const error = await registerCarol({ signature: change }).catch((cause: unknown) => cause);
        expect(String(error)).to.include("BindingNotSigned");
      }
      expect(await sendTo(chain.carol)).to.equal("RECEIVER_UNREGISTERED");
    });

    it("is no point of the curve, which the contract cannot see", async () => {
      await registerCarol({ signingKey: fromHex(`0x02${"00".repeat(31)}`) });
      expect(await sendTo(chain.carol)).to.equal("RECEIVER_KEY_INVALID");
    });

    it("has a document of another wallet", async () => {
      await registerCarol({ wallet: chain.bob });
      expect(await sendTo(chain.carol)).to.equal("RECEIVER_KEY_INVALID");
    });

    it("has a document that was altered, or is no key document", async () => {
      const altered = (block: Uint8Array): Uint8Array => {
        const document = decodeKeyDocument(block);
        return encodeKeyDocument({ ...document, encryptionKey: identityOfSeed(fixedBytes("mallory")).encryptionKey });
      };
      await registerCarol({ document: altered });
      expect(await sendTo(chain.carol)).to.equal("RECEIVER_KEY_INVALID");
      await registerCarol({ document: () => Uint8Array.of(0xa0) });
      expect(await sendTo(chain.carol)).to.equal("RECEIVER_KEY_INVALID");
    });

    it("was revoked", async () => {
      await registerCarol({});
      const { signer } = await session.signer(chain.carol);
      await (
        await signer.sendTransaction({
          to: session.deployment.keyRegistry,
          data: registry.encodeFunctionData("revoke"),
        })
      ).wait();
      expect(await sendTo(chain.carol)).to.equal("RECEIVER_REVOKED");
      expect(await sendTo(chain.bob, chain.carol)).to.equal("SENDER_REVOKED");
    });
  });
});

describe("anchor refuses before anything is paid", () => {
  let chain: TestDeployment;
  let session: Session;

  before(async () => {
    chain = await openDeployment();
    session = chain.open();
    await register(session, chain.alice);
    await register(session, chain.bob);
  });

  after(async () => {
    await session.close();
    await chain.close();
  });

  it("does nothing, and pays nothing, while there is nothing to anchor", async () => {
    const before = await chain.connection.ethers.provider.getBalance(chain.operator);
    const { data } = await anchor(session);
    expect(data).to.deep.equal({ anchored: 0, anchorer: null, anchors: [], held: [], refused: [] });
    expect(await chain.connection.ethers.provider.getBalance(chain.operator)).to.equal(before);
  });

  it("an account that is not the anchorer, and names the one that is", async () => {
    await send(session, chain.alice, [{ to: chain.bob, content: HELLO }]);
    let message = "";
    const code = await codeOfAsync(async () => {
      try {
        await anchor(session, { ...DEFAULT_OPTIONS, from: chain.alice });
      } catch (error) {
        message = (error as Error).message;
        throw error;
      }
    });
    expect(code).to.equal("NOT_ANCHORER");
    expect(message).to.contain(checksummed(chain.operator));
    expect(session.mailbox.counts().unanchored).to.equal(1);
  });

  it("an account without funds", async () => {
    const { networkHelpers } = chain.connection;
    await networkHelpers.setBalance(chain.operator, 1n);
    expect(await codeOfAsync(() => anchor(session))).to.equal("FUNDS_INSUFFICIENT");
    await networkHelpers.setBalance(chain.operator, 10n ** 20n);
    expect(session.mailbox.counts().unanchored).to.equal(1);
    expect((await anchor(session)).data).to.include({ anchored: 1 });
  });
});
