import { secp256k1 } from "@noble/curves/secp256k1.js";
import { expect } from "chai";

import type { Wallet } from "../../protocol/binding.ts";
import { hashTypedData, type TypedData } from "../../protocol/eip712.ts";
import { equal, fromHex, toHex } from "../../protocol/bytes.ts";
import { DmtpError } from "../../protocol/error.ts";
import {
  checkPassphrase,
  openSealedSeed,
  sealWithPassphrase,
  sealWithWallet,
  SEALED_BYTES,
  type SealOwner,
} from "../../protocol/sealing.ts";
import { ALICE, BOB, DEPLOYMENT } from "../fixtures/history.ts";
import { codeOf, codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";
import { flipBit } from "./crypto/implementations.ts";

const OWNER: SealOwner = { deployment: DEPLOYMENT, wallet: ALICE.address, version: 1 };
const SEED = fixedBytes("seed");
const SALT = fixedBytes("salt");
const OTHER_OWNERS: readonly SealOwner[] = [
  { ...OWNER, version: 2 },
  { ...OWNER, deployment: { ...DEPLOYMENT, chainId: 1 } },
  { ...OWNER, deployment: { ...DEPLOYMENT, keyRegistry: BOB.address } },
];

/** A wallet that answers with `answer` of what it would say. */
function walletThat(answer: (signature: string, call: number) => string): Wallet {
  let calls = 0;
  return {
    address: ALICE.address,
    signTypedData: async (request: TypedData) => answer(await ALICE.wallet.signTypedData(request), calls++),
  };
}

/** Everything an error shows or carries. */
async function shownBy(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof DmtpError)) throw error;
    return [error.message, error.hint, error.stack, JSON.stringify(error), String(error.cause)].join("\n");
  }
  throw new Error("nothing was refused");
}

describe("A seed sealed by its wallet", () => {
  it("opens with that wallet", async () => {
    const sealed = await sealWithWallet(OWNER, ALICE.wallet, SEED, SALT);
    expect(sealed.method).to.equal("wallet");
    expect(sealed.ciphertext).to.have.length(SEALED_BYTES);
    expect(await openSealedSeed(OWNER, sealed, { wallet: ALICE.wallet })).to.deep.equal(SEED);
  });

  it("asks the wallet twice when it is sealed and once when it is opened", async () => {
    let calls = 0;
    const wallet = walletThat((signature, call) => {
      calls = call + 1;
      return signature;
    });
    const sealed = await sealWithWallet(OWNER, wallet, SEED, SALT);
    expect(calls).to.equal(2);
    await openSealedSeed(OWNER, sealed, { wallet });
    expect(calls).to.equal(3);
  });

  it("opens whether the wallet writes v as 27 and 28 or as 0 and 1", async () => {
    const sealed = await sealWithWallet(OWNER, ALICE.wallet, SEED, SALT);
    const parity = walletThat((signature) => signature.slice(0, -2) + (signature.endsWith("1b") ? "00" : "01"));
    expect(await openSealedSeed(OWNER, sealed, { wallet: parity })).to.deep.equal(SEED);
    const again = await sealWithWallet(OWNER, parity, SEED, SALT);
    expect(toHex(again.ciphertext)).to.equal(toHex(sealed.ciphertext));
  });

  it("is refused to another wallet, and to one that lies about its signature", async () => {
    const sealed = await sealWithWallet(OWNER, ALICE.wallet, SEED, SALT);
    const wrong: Wallet[] = [
      BOB.wallet,
      walletThat(() => "0x"),
      walletThat((signature) => signature.slice(0, -2)),
      walletThat((signature) => `${signature}00`),
      walletThat(() => `0x${"00".repeat(64)}1b`),
      walletThat((signature) => toHex(flipBit(fromHex(signature), 77))),
      walletThat((signature) => `${signature.slice(0, -2)}1d`),
    ];
    for (const wallet of wrong) {
      expect(await codeOfAsync(() => openSealedSeed(OWNER, sealed, { wallet }))).to.equal("WALLET_SIGNATURE_WRONG");
      expect(await codeOfAsync(() => sealWithWallet(OWNER, wallet, SEED, SALT))).to.equal("WALLET_SIGNATURE_WRONG");
    }
  });

  it("is not made by a wallet whose signatures vary", async () => {
    // Another ECDSA nonce gives another signature of the same request, as valid as the first.
    const varying: Wallet = {
      address: ALICE.address,
      signTypedData: (() => {
        let calls = 0;
        return (request: TypedData) => Promise.resolve(toHex(signWithNonce(request, BigInt(1000 + calls++))));
      })(),
    };
    expect(await codeOfAsync(() => sealWithWallet(OWNER, varying, SEED, SALT))).to.equal("WALLET_SIGNATURES_VARY");
  });

  it("opens for no other wallet, version, registry or chain, and not when a bit is changed", async () => {
    const sealed = await sealWithWallet(OWNER, ALICE.wallet, SEED, SALT);
    for (const owner of OTHER_OWNERS) {
      expect(await codeOfAsync(() => openSealedSeed(owner, sealed, { wallet: ALICE.wallet }))).to.equal(
        "SEALED_KEY_UNOPENED",
      );
    }
    for (let bit = 0; bit < SEALED_BYTES * 8; bit += 13) {
      const changed = { ...sealed, ciphertext: flipBit(sealed.ciphertext, bit) };
      expect(await codeOfAsync(() => openSealedSeed(OWNER, changed, { wallet: ALICE.wallet }))).to.equal(
        "SEALED_KEY_UNOPENED",
      );
    }
    const salted = { ...sealed, salt: flipBit(sealed.salt, 0) };
    expect(await codeOfAsync(() => openSealedSeed(OWNER, salted, { wallet: ALICE.wallet }))).to.equal(
      "SEALED_KEY_UNOPENED",
    );
    expect(await codeOfAsync(() => openSealedSeed(OWNER, sealed, { passphrase: "x" }))).to.equal("SEALED_KEY_UNOPENED");
  });
});

describe("A seed sealed by a passphrase", () => {
  const sealed = sealWithPassphrase(OWNER, "Großmutters Käse", SEED, SALT);

  it("opens with that passphrase, composed or not", async () => {
    expect(await openSealedSeed(OWNER, sealed, { passphrase: "Großmutters Käse".normalize("NFD") })).to.deep.equal(
      SEED,
    );
  }).timeout(20_000);

  it("opens with no other, for no other owner, and not with a wallet", async () => {
    const refused = [
      () => openSealedSeed(OWNER, sealed, { passphrase: "großmutters Käse" }),
      () => openSealedSeed(OTHER_OWNERS[0]!, sealed, { passphrase: "Großmutters Käse" }),
      () => openSealedSeed(OWNER, sealed, { wallet: ALICE.wallet }),
    ];
    for (const open of refused) expect(await codeOfAsync(open)).to.equal("SEALED_KEY_UNOPENED");
  }).timeout(20_000);

  it("takes no passphrase that another Unicode could compose otherwise, nor an empty one", async () => {
    // Unassigned in the Greek block, a noncharacter, half of a surrogate pair.
    for (const passphrase of ["", "\u0378", "ok \ufffe", "\ud83d"]) {
      const seal = () => sealWithPassphrase(OWNER, passphrase, SEED, SALT);
      expect(codeOf(seal)).to.equal("PASSPHRASE_INVALID");
      expect(await codeOfAsync(() => openSealedSeed(OWNER, sealed, { passphrase }))).to.equal("PASSPHRASE_INVALID");
    }
    for (const passphrase of ["नमस्ते 你好 مرحبا", "🚀", "\u{e000}"]) checkPassphrase(passphrase);
  });
});

describe("What a refusal shows", () => {
  it("is neither seed, signature, nor passphrase", async () => {
    const sealed = await sealWithWallet(OWNER, ALICE.wallet, SEED, SALT);
    const signatures: string[] = [];
    const flipped = walletThat((signature) => {
      const wrong = toHex(flipBit(fromHex(signature), 77));
      signatures.push(signature, wrong);
      return wrong;
    });
    const cheap = {
      method: "passphrase",
      salt: SALT,
      scrypt: { N: 2, r: 1, p: 1 },
      ciphertext: sealed.ciphertext,
    } as const;
    const shown = [
      await shownBy(() => openSealedSeed(OWNER, sealed, { wallet: flipped })),
      await shownBy(() => openSealedSeed(OTHER_OWNERS[0]!, sealed, { wallet: ALICE.wallet })),
      await shownBy(() => openSealedSeed(OWNER, cheap, { passphrase: "correct horse" })),
    ].join("\n");
    expect(equal(SEED, sealed.ciphertext.subarray(0, 32))).to.equal(false);
    for (const secret of [...signatures, toHex(SEED), "correct horse"]) {
      expect(shown).not.to.include(secret.slice(2));
      expect(shown).not.to.include(secret.slice(2, 34));
    }
  });
});

/** ECDSA with a nonce of our own choice: what a wallet does that takes fresh ones. */
function signWithNonce(request: TypedData, nonce: bigint): Uint8Array {
  const { Point } = secp256k1;
  const { Fn } = Point;
  const digest = BigInt(toHex(hashTypedData(request)));
  const point = Point.BASE.multiply(nonce).toAffine();
  const r = Fn.create(point.x);
  let s = Fn.mul(Fn.inv(nonce), Fn.create(digest + r * BigInt(toHex(ALICE.wallet.privateKey))));
  let parity = Number(point.y & 1n);
  if (s > Fn.ORDER / 2n) {
    s = Fn.ORDER - s;
    parity ^= 1;
  }
  const digits = (value: bigint): string => value.toString(16).padStart(64, "0");
  return fromHex(`0x${digits(r)}${digits(s)}${parity === 0 ? "1b" : "1c"}`);
}
