/** What an application can do with a signature that a wallet gave it under other words than those of SPEC 3.3 and 3.4: nothing. */
import { expect } from "chai";
import { Wallet } from "ethers";

import { keyRegistryInterface } from "../../io/chain/contracts.ts";
import { checksummed } from "../../protocol/address.ts";
import { bindingRequest, revocationRequest, type KeyBinding } from "../../protocol/binding.ts";
import { toHex } from "../../protocol/bytes.ts";
import type { TypedData } from "../../protocol/eip712.ts";
import { identityOfSeed } from "../../protocol/identity.ts";
import { runCommand } from "../fixtures/command.ts";
import { ALICE, BOB, CAROL } from "../fixtures/history.ts";
import { Operator } from "../fixtures/operator.ts";
import { relay } from "../fixtures/registration.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

/** As a dapp asks for it that does not want its user to know: the same members without the words, or with others. */
const DISGUISES: Record<string, (request: TypedData) => TypedData> = {
  "without any words": ({ domain, types, message }) => {
    const [[name, members]] = Object.entries(types) as [[string, { name: string; type: string }[]]];
    const { purpose: _, ...rest } = message;
    return { domain, types: { [name]: members.filter((member) => member.name !== "purpose") }, message: rest };
  },
  "under words of its own": (request) => ({ ...request, message: { ...request.message, purpose: "Log in." } }),
};

describe("A dapp that has a wallet sign", function () {
  this.timeout(60_000);
  let operator: Operator;
  let dapp: Wallet;
  const deadline = 4_000_000_000;

  before(async () => {
    operator = await Operator.start({ chainId: 80_002 });
    await operator.dev("anvil_setBalance", CAROL.address, "0x56bc75e2d63100000");
    dapp = new Wallet(toHex(CAROL.wallet.privateKey), operator.deployed.provider);
  });
  after(() => operator.stop());

  /** A key that the dapp has made, for Bob. */
  const makeBinding = (): KeyBinding => {
    const { encryptionKey, signingKey } = identityOfSeed(fixedBytes("the dapp's seed"));
    const document = fixedBytes("some document");
    return { wallet: BOB.address, version: 2, encryptionKey, signingKey, document, deadline };
  };

  /** What everybody sees of Bob's keys. */
  async function showKeys(): Promise<unknown> {
    const { deployment } = operator.deployed;
    const place = { url: operator.chain.url, deployment, dataDir: operator.folderOf("anybody") };
    const ending = await runCommand(
      { ...place, privateKey: toHex(ALICE.wallet.privateKey) },
      ["keys", "show", "--wallet", BOB.address, "--json"],
      { CONTENT_SOURCES: operator.folderOf("blocks") },
    );
    const { current, versions } = JSON.parse(ending.stdout) as {
      readonly current: number | null;
      readonly versions: readonly { readonly revoked?: true }[];
    };
    return { current, versions: versions.length, revoked: versions.some(({ revoked }) => revoked === true) };
  }

  async function revoke(signature: Uint8Array): Promise<void> {
    const data = keyRegistryInterface.encodeFunctionData("revokeFor", [BOB.address, deadline, toHex(signature)]);
    const to = checksummed(operator.deployed.deployment.keyRegistry);
    await (await dapp.sendTransaction({ to, data })).wait();
  }

  it("without the words that say the consequence can neither make its key the wallet's nor revoke those that are", async () => {
    const { deployment } = operator.deployed;
    const binding = makeBinding();
    const request = bindingRequest(deployment, binding);
    const revocation = revocationRequest(deployment, BOB.address, 2, deadline);
    for (const [name, disguise] of Object.entries(DISGUISES)) {
      const signed = (asked: TypedData): Uint8Array => BOB.wallet.sign(disguise(asked));
      const register = (): Promise<unknown> => relay(dapp, deployment, { binding, request }, signed(request));
      expect(await codeOfAsync(register), name).to.equal("TRANSACTION_FAILED");
      await revoke(signed(revocation)).then(
        () => expect.fail(`${name}: revoked`),
        (error: unknown) => expect(String(error)).to.match(/revert|exception/i),
      );
    }
    expect(await showKeys()).to.deep.equal({ current: 1, versions: 1, revoked: false });
  });

  it("with those words can, so the wallet shows them to its user before", async () => {
    const { deployment } = operator.deployed;
    const binding = makeBinding();
    const request = bindingRequest(deployment, binding);
    expect(request.message["purpose"]).to.contain("can read what others send me and write in my name");
    await relay(dapp, deployment, { binding, request }, BOB.wallet.sign(request));
    expect(await showKeys()).to.deep.equal({ current: 2, versions: 2, revoked: false });
    const revocation = revocationRequest(deployment, BOB.address, 3, deadline);
    expect(revocation.message["purpose"]).to.contain("nobody can write to me");
    await revoke(BOB.wallet.sign(revocation));
    expect(await showKeys()).to.deep.equal({ current: null, versions: 3, revoked: true });
  });
});
