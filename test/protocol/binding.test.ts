import { expect } from "chai";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { BaseWallet } from "ethers/wallet";
import { SigningKey } from "ethers/crypto";

import {
  bindingRequest,
  isBindingSigned,
  normalizeSignature,
  recoverSigner,
  revocationRequest,
  unlockRequest,
  type KeyBinding,
} from "../../protocol/binding.ts";
import { encodeType, type TypedData } from "../../protocol/eip712.ts";
import { concat, fromHex, toHex } from "../../protocol/bytes.ts";
import { ALICE, BOB, DEPLOYMENT } from "../fixtures/history.ts";
import { fixedBytes } from "../fixtures/wallet.ts";
import { flipBit } from "./crypto/implementations.ts";

const ORDER = secp256k1.Point.Fn.ORDER;

const BINDING: KeyBinding = {
  wallet: ALICE.address,
  version: 1,
  encryptionKey: fixedBytes("encryption"),
  signingKey: fixedBytes("signing"),
  document: fixedBytes("document"),
  deadline: 2_000_000_000,
};

function word(value: bigint): Uint8Array {
  return fromHex(`0x${value.toString(16).padStart(64, "0")}`);
}

describe("EIP-712 requests", () => {
  it("have the types that KeyRegistry hashes", () => {
    const typeOf = ({ types }: TypedData): string => encodeType(Object.keys(types)[0]!, types);
    expect(typeOf(bindingRequest(DEPLOYMENT, BINDING))).to.equal(
      "KeyBinding(address wallet,string purpose,uint256 version,bytes32 encryptionKey,bytes32 signingKey,bytes32 document,uint256 deadline)",
    );
    expect(typeOf(revocationRequest(DEPLOYMENT, ALICE.address, 2, 7))).to.equal(
      "KeyRevocation(address wallet,string purpose,uint256 version,uint256 deadline)",
    );
    expect(typeOf(unlockRequest(DEPLOYMENT, ALICE.address, fixedBytes("salt")))).to.equal(
      "KeyUnlock(address wallet,string purpose,bytes32 salt)",
    );
  });

  it("are signed alike by ethers' own wallet", async () => {
    const request = bindingRequest(DEPLOYMENT, BINDING);
    const wallet = new BaseWallet(new SigningKey(toHex(ALICE.wallet.privateKey)));
    const signature = await wallet.signTypedData(request.domain, request.types, request.message);
    expect(signature).to.equal(await ALICE.wallet.signTypedData(request));
  });
});

describe("A binding", () => {
  const signature = ALICE.wallet.sign(bindingRequest(DEPLOYMENT, BINDING));

  it("is signed by its wallet, for this deployment", () => {
    expect(isBindingSigned(DEPLOYMENT, BINDING, signature)).to.equal(true);
  });

  it("is not signed when any member or the deployment is another", () => {
    const changes: Partial<KeyBinding>[] = [
      { wallet: BOB.address },
      { version: 2 },
      { encryptionKey: fixedBytes("other") },
      { signingKey: fixedBytes("other") },
      { document: fixedBytes("other") },
      { deadline: BINDING.deadline + 1 },
    ];
    for (const change of changes)
      expect(isBindingSigned(DEPLOYMENT, { ...BINDING, ...change }, signature)).to.equal(false);
    expect(isBindingSigned({ ...DEPLOYMENT, chainId: 1 }, BINDING, signature)).to.equal(false);
    expect(isBindingSigned({ ...DEPLOYMENT, keyRegistry: BOB.address }, BINDING, signature)).to.equal(false);
    expect(isBindingSigned({ ...DEPLOYMENT, cidStore: BOB.address }, BINDING, signature)).to.equal(true);
  });

  it("is not signed when any bit of the signature is another", () => {
    for (let bit = 0; bit < signature.length * 8; bit++) {
      expect(isBindingSigned(DEPLOYMENT, BINDING, flipBit(signature, bit)), `bit ${bit}`).to.equal(false);
    }
  });

  it("is not signed by the twin of a signature with the higher s", () => {
    const s = BigInt(toHex(signature.subarray(32, 64)));
    const twin = concat(signature.subarray(0, 32), word(ORDER - s), Uint8Array.of(signature[64] === 27 ? 28 : 27));
    expect(isBindingSigned(DEPLOYMENT, BINDING, twin)).to.equal(false);
  });

  it("is signed with s of at most half the order, to the last unit", () => {
    // A signature that nobody made recovers to some address: whether it does is the question here.
    const request = bindingRequest(DEPLOYMENT, BINDING);
    const half = ORDER / 2n;
    const recover = (s: bigint): string | null =>
      recoverSigner(request, concat(signature.subarray(0, 32), word(s), Uint8Array.of(27)));
    expect(recover(half)).to.match(/^0x/);
    expect(recover(half + 1n)).to.equal(null);
    expect(recover(2n ** 255n - 1n)).to.equal(null);
    expect(recover(1n)).to.match(/^0x/);
    expect(recover(0n)).to.equal(null);
  });

  it("is not signed with r of zero or of at least the order", () => {
    const request = bindingRequest(DEPLOYMENT, BINDING);
    for (const r of [0n, ORDER, ORDER + 1n, 2n ** 256n - 1n]) {
      expect(recoverSigner(request, concat(word(r), signature.subarray(32)))).to.equal(null);
    }
  });

  it("is not signed with v other than 27 or 28, or with another length", () => {
    for (let v = 0; v < 256; v++) {
      if (v === signature[64]) continue;
      const changed = concat(signature.subarray(0, 64), Uint8Array.of(v));
      expect(isBindingSigned(DEPLOYMENT, BINDING, changed), `v ${v}`).to.equal(false);
    }
    for (const other of [new Uint8Array(0), signature.subarray(0, 64), concat(signature, Uint8Array.of(0))]) {
      expect(isBindingSigned(DEPLOYMENT, BINDING, other)).to.equal(false);
    }
  });

  it("is normalized for the wallets that write v as 0 or 1, or give the higher s, and for no others", () => {
    const s = BigInt(toHex(signature.subarray(32, 64)));
    const v = signature[64]!;
    const twin = concat(signature.subarray(0, 32), word(ORDER - s), Uint8Array.of(55 - v));
    const honest = toHex(signature);
    for (const form of [signature, twin, signature.with(64, v - 27), twin.with(64, 55 - v - 27)]) {
      expect(toHex(normalizeSignature(toHex(form))!)).to.equal(honest);
    }
    expect(toHex(normalizeSignature(honest.toUpperCase().replace("0X", "0x"))!)).to.equal(honest);
    // Half the order is the last s that is low, and the order itself none at all.
    for (const kept of [ORDER / 2n, ORDER, ORDER + 1n, 2n ** 256n - 1n]) {
      const form = toHex(concat(signature.subarray(0, 32), word(kept), Uint8Array.of(28)));
      expect(toHex(normalizeSignature(form)!)).to.equal(form);
    }
    const next = toHex(concat(signature.subarray(0, 32), word(ORDER / 2n + 1n), Uint8Array.of(28)));
    expect(toHex(normalizeSignature(next)!.subarray(32))).to.equal(`0x${(ORDER / 2n).toString(16)}1b`);
    for (const odd of [2, 26, 29, 31, 255]) {
      expect(normalizeSignature(toHex(signature.with(64, odd)))![64]).to.equal(odd);
    }
    for (const none of ["", "0x", honest.slice(2), `${honest}00`, honest.slice(0, -2), honest.replace(/.$/, "g")]) {
      expect(normalizeSignature(none)).to.equal(null);
    }
  });
});
