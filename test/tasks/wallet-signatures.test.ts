import { expect } from "chai";
import type { Signer } from "ethers";

import type { Address } from "../../protocol/address.ts";
import { fromHex, toHex } from "../../protocol/bytes.ts";
import { contentOfText } from "../../protocol/content.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

type Change = (signature: Uint8Array) => Uint8Array;

/** The other signature with the same r: s and v are the other ones. */
const asTwin: Change = (signature) => {
  const s = ORDER - BigInt(toHex(signature.subarray(32, 64)));
  const twin = fromHex(`${toHex(signature.subarray(0, 32))}${s.toString(16).padStart(64, "0")}00`);
  twin[64] = 55 - signature[64]!;
  return twin;
};
/** As some hardware wallets write v. */
const withV01: Change = (signature) => signature.with(64, signature[64]! - 27);

describe("keys register, with wallets whose signatures are written in other ways", () => {
  let chain: TestDeployment;

  before(async () => {
    chain = await openDeployment();
  });

  after(() => chain.close());

  /** The accounts, of which each signs typed data as `sign` says; what is paid, they pay as ever. */
  async function signers(sign: (signer: Signer, request: TypedDataArguments) => Promise<string>): Promise<Signer[]> {
    return (await chain.connection.ethers.getSigners()).map((signer) => {
      const signTypedData = (...request: TypedDataArguments): Promise<string> => sign(signer, request);
      const own = { signTypedData };
      return new Proxy<Signer>(signer, {
        get(target, name) {
          const member: unknown = Reflect.get(name in own ? own : target, name);
          return typeof member === "function" ? (member.bind(target) as unknown) : member;
        },
      });
    });
  }
  type TypedDataArguments = Parameters<Signer["signTypedData"]>;

  async function isUsable(wallet: Address): Promise<boolean> {
    const keys = await chain.open().readKeys(wallet);
    const lookup = keys.current(wallet);
    return lookup.status === "usable" && lookup.key.binding === "signature";
  }

  for (const [name, change] of [
    ["v of 0 or 1", withV01],
    ["the higher s", asTwin],
    ["both", (signature) => withV01(asTwin(signature))],
  ] as [string, Change][]) {
    it(`registers a key that readers verify, and opens it again: ${name}`, async () => {
      const changed = await signers(async (signer, request) =>
        toHex(change(fromHex(await signer.signTypedData(...request)))),
      );
      const session = chain.open({ signers: () => Promise.resolve(changed) });
      for (const wallet of [chain.alice, chain.bob]) {
        await register(session, wallet);
        expect(await isUsable(wallet)).to.equal(true);
      }
      await send(session, chain.alice, [{ to: chain.bob, content: contentOfText("from a Ledger") }]);
      // The same wallet, as other software makes it sign: the seal is the same.
      await session.close();
      const other = chain.open();
      await send(other, chain.alice, [{ to: chain.bob, content: contentOfText("from another") }]);
      await other.close();
    });
  }

  it("pays nothing for a binding that another account signed, or nobody", async () => {
    const [operator] = await chain.connection.ethers.getSigners();
    const isBinding = ([, types]: TypedDataArguments): boolean => "KeyBinding" in types;
    const wrong: ((signer: Signer, request: TypedDataArguments) => Promise<string>)[] = [
      (_, request) => operator!.signTypedData(...request),
      async (signer, request) => {
        const signature = fromHex(await signer.signTypedData(...request));
        return toHex(signature.with(40, signature[40]! ^ 1));
      },
      async (signer, request) => `${await signer.signTypedData(...request)}00`,
      async (signer, [domain, types, message]) => signer.signTypedData(domain, types, { ...message, deadline: 1 }),
      () => Promise.resolve("0x"),
    ];
    for (const sign of wrong) {
      const changed = await signers((signer, request) =>
        isBinding(request) ? sign(signer, request) : signer.signTypedData(...request),
      );
      const session = chain.open({ signers: () => Promise.resolve(changed) });
      const { provider } = chain.connection.ethers;
      const before = [await provider.getTransactionCount(chain.carol), await provider.getBalance(chain.carol)];
      expect(await codeOfAsync(() => register(session, chain.carol))).to.equal("WALLET_SIGNATURE_WRONG");
      const after = [await provider.getTransactionCount(chain.carol), await provider.getBalance(chain.carol)];
      expect(after).to.deep.equal(before);
      expect(await session.reader.walletEvents(chain.carol)).to.deep.equal([]);
      await session.close();
    }
  });
});
