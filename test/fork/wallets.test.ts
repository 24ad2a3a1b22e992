import { expect } from "chai";
import {
  concat,
  ContractFactory,
  VoidSigner,
  ZeroAddress,
  type JsonRpcProvider,
  type Signer,
  type Wallet,
} from "ethers";
import hre from "hardhat";

import { LocalAccount } from "../../io/chain/transactions/account.ts";
import { walletOf } from "../../io/chain/transactions/writer.ts";
import { parseAddress, type Address } from "../../protocol/address.ts";
import { hashTypedData } from "../../protocol/eip712.ts";
import { fromHex } from "../../protocol/bytes.ts";
import type { KeyEvent } from "../../protocol/event.ts";
import { contentOfText } from "../../protocol/content.ts";
import { roomIdOf } from "../../protocol/room.ts";
import type { Opener } from "../../protocol/sealing.ts";
import { anchor } from "../../tasks/anchor.ts";
import { accountsOf } from "../../tasks/accounts.ts";
import { audit } from "../../tasks/audit.ts";
import { readConversation } from "../../tasks/conversation.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { anchorsOf } from "../fixtures/anchor.ts";
import type { Chain } from "../fixtures/chain.ts";
import type { TestDeployment } from "../fixtures/deployment.ts";
import { accountOf, deployOnFork, fund, providerOf, startFork, UPSTREAMS, type Fork } from "../fixtures/fork.ts";
import { draftKey, relay } from "../fixtures/registration.ts";
import { deploySafe, type Safe } from "../fixtures/safe.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const PASSPHRASE = "three owners and a passphrase";

for (const { name, start } of UPSTREAMS) {
  describe(`wallets of every kind on a fork of ${name}`, function () {
    this.timeout(60_000);
    let upstream: Chain;
    let fork: Fork;
    let chain: TestDeployment;
    let session: Session;
    let provider: JsonRpcProvider;
    let operator: Signer;
    let owners: [Wallet, Wallet, Wallet];
    let safe: Safe;
    /** An externally owned account that will carry code. */
    let delegated: Wallet;

    before(async () => {
      upstream = await start();
      fork = await startFork(upstream);
      chain = await deployOnFork(fork);
      provider = providerOf(fork);
      operator = accountOf("operator").connect(provider);
      delegated = accountOf("an account with code").connect(provider);
      await fund(fork, delegated.address);
      owners = [accountOf("owner 1"), accountOf("owner 2"), accountOf("owner 3")];
      safe = await deploySafe(operator, owners, 2);
      const accounts = await chain.connection.ethers.getSigners();
      // Who sends with a passphrase signs nothing with the wallet: its address is enough.
      const signers = [...accounts, delegated, new VoidSigner(safe.address, provider)];
      session = chain.open();
      const paying = [
        ...(await accountsOf(chain.connection.networkConfig, session.rpc)),
        new LocalAccount(delegated.privateKey),
      ];
      await session.close();
      session = chain.open({ signers: () => Promise.resolve(signers), accounts: () => Promise.resolve(paying) });
    });

    after(async () => {
      await session.close();
      provider.destroy();
      await chain.close();
      await fork.stop();
      await upstream.stop();
    });

    const lastKey = async (wallet: Address): Promise<KeyEvent | null> => {
      const event = (await session.reader.walletEvents(wallet)).at(-1);
      return event?.kind === "key" ? event : null;
    };

    it("registers an externally owned account by its own transaction", async () => {
      await register(session, chain.alice);
      expect(await lastKey(chain.alice)).to.include({ hasCode: false });
    });

    it("registers an externally owned account by its signature, for which somebody else pays", async () => {
      const { signer } = await session.signer(chain.bob);
      const draft = await draftKey(session, chain.bob, PASSPHRASE);
      const signature = fromHex(await (await walletOf(signer)).signTypedData(draft.request));
      await relay(operator, session.deployment, draft, signature);
      expect(await lastKey(chain.bob)).to.include({ hasCode: false });
      expect(await provider.getTransactionCount(chain.bob)).to.equal(0);
    });

    it("registers a Safe by the signatures of two of its three owners, and not by less", async () => {
      const draft = await draftKey(session, safe.address, PASSPHRASE);
      const digest = hashTypedData(draft.request);
      const attempt = (signature: Uint8Array): Promise<string> =>
        relay(operator, session.deployment, draft, signature).then(
          () => "registered",
          (error: unknown) => (error as Error).message,
        );
      const [first, second, third] = owners;
      for (const signature of [
        await safe.sign(digest, [first]),
        await safe.sign(digest, [first, first]),
        await safe.sign(digest, [first, accountOf("no owner")]),
        await safe.sign(fixedBytes("another digest"), [first, second]),
        // Over the digest itself, which would be good for every Safe that these two own.
        fromHex(concat([first, second].map((owner) => owner.signingKey.sign(digest).serialized))),
        new Uint8Array(0),
      ]) {
        expect(await attempt(signature)).to.match(/InvalidSignature/);
      }
      expect(await attempt(await safe.sign(digest, [third, first]))).to.equal("registered");
      expect(await lastKey(safe.address)).to.include({ hasCode: true });
    });

    it("registers an account with EIP-7702 code by its own key, which that code knows nothing of", async () => {
      const { abi, bytecode } = await hre.artifacts.readArtifact("OwnedWallet");
      const code = await new ContractFactory(abi, bytecode, operator).deploy(owners[0].address);
      await code.waitForDeployment();
      const authorization = await delegated.authorize({ address: await code.getAddress(), nonce: 0 });
      await (await operator.sendTransaction({ type: 4, to: ZeroAddress, authorizationList: [authorization] })).wait();
      expect(await provider.getCode(delegated.address)).to.match(/^0xef0100/);

      const wallet = parseAddress(delegated.address);
      const draft = await draftKey(session, wallet, PASSPHRASE);
      const signature = await (await walletOf(delegated)).signTypedData(draft.request);
      await relay(operator, session.deployment, draft, fromHex(signature));
      expect(await lastKey(wallet)).to.include({ hasCode: true, version: 1 });
      // And its next one by its own transaction.
      await register(session, wallet);
      expect(await lastKey(wallet)).to.include({ hasCode: true, version: 2 });
    });

    it("sends, anchors and audits what each of them writes to each other", async () => {
      const wallets = [chain.alice, chain.bob, safe.address, parseAddress(delegated.address)];
      const passphraseOf = (wallet: Address): string | undefined =>
        wallet === chain.bob || wallet === safe.address ? PASSPHRASE : undefined;
      for (const from of wallets) {
        const drafts = wallets
          .filter((to) => to !== from)
          .map((to) => ({ to, content: contentOfText(`from ${from} to ${to}`) }));
        // The Safe is accepted by the first who writes to it, in the mailbox that all of them share here.
        await send(session, from, drafts, passphraseOf(from), {
          acceptedContractWallets: from === chain.alice ? [safe.address] : [],
        });
      }
      expect(anchorsOf(await anchor(session))[0]).to.include({ messages: 12, rooms: 6, index: 0 });
      const { data, error } = await audit(session);
      expect(error).to.equal(undefined);
      expect(data).to.deep.include({ messages: { verified: 12, rejected: 0, missing: 0 } });

      for (const wallet of wallets) {
        const { signer } = await session.signer(wallet);
        const passphrase = passphraseOf(wallet);
        const opener: Opener = passphrase === undefined ? { wallet: await walletOf(signer) } : { passphrase };
        const other = wallet === safe.address ? chain.alice : safe.address;
        const room = roomIdOf(session.deployment, wallet, other);
        const { lines } = await readConversation(session, room, wallet, opener);
        expect(lines.map(({ text }) => text)).to.have.members([
          `from ${wallet} to ${other}`,
          `from ${other} to ${wallet}`,
        ]);
      }
    });
  });
}
