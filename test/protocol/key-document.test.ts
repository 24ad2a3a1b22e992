import { expect } from "chai";

import { Float, type CborValue } from "../../protocol/cbor.ts";
import { decode } from "../../protocol/cbor-decoder.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import {
  checkKeyDocument,
  decodeKeyDocument,
  encodeKeyDocument,
  type KeyDocument,
} from "../../protocol/key-document.ts";
import { openSealedSeed } from "../../protocol/sealing.ts";
import { ALICE, BOB, DEPLOYMENT } from "../fixtures/history.ts";
import { codeOf, codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const DOCUMENT: KeyDocument = {
  chainId: DEPLOYMENT.chainId,
  keyRegistry: DEPLOYMENT.keyRegistry,
  wallet: ALICE.address,
  version: 1,
  encryptionKey: fixedBytes("encryption"),
  signingKey: fixedBytes("signing"),
  sealed: { method: "wallet", salt: fixedBytes("salt"), ciphertext: new Uint8Array(48).fill(7) },
};
const WITH_PASSPHRASE: KeyDocument = {
  ...DOCUMENT,
  sealed: { ...DOCUMENT.sealed, method: "passphrase", scrypt: { N: 2 ** 17, r: 8, p: 1 } },
};

/** The code by which a document with other members (undefined: left out) is refused. */
function refusal(
  change: Record<string, CborValue | undefined>,
  sealedChange: Record<string, CborValue | undefined> = {},
  of = DOCUMENT,
) {
  const map = new Map(decode(encodeKeyDocument(of)) as ReadonlyMap<string, CborValue>);
  map.set("sealed", changed(map.get("sealed") as ReadonlyMap<string, CborValue>, sealedChange));
  return codeOf(() => decodeKeyDocument(encode(changed(map, change))));
}

function changed(
  map: ReadonlyMap<string, CborValue>,
  change: Record<string, CborValue | undefined>,
): Map<string, CborValue> {
  const result = new Map(map);
  for (const [name, value] of Object.entries(change)) {
    if (value === undefined) result.delete(name);
    else result.set(name, value);
  }
  return result;
}

describe("A key document", () => {
  it("comes back as it was, sealed by a wallet or by a passphrase", () => {
    for (const document of [DOCUMENT, WITH_PASSPHRASE]) {
      expect(decodeKeyDocument(encodeKeyDocument(document))).to.deep.equal(document);
    }
  });

  it("of another version or suite is told apart from damage, even when its members are others", () => {
    expect(refusal({ v: 2 })).to.equal("VERSION_UNSUPPORTED");
    expect(refusal({ v: 0 })).to.equal("VERSION_UNSUPPORTED");
    expect(refusal({ v: 2, suite: 2, chain: undefined, extra: 1 })).to.equal("VERSION_UNSUPPORTED");
    expect(refusal({ v: 2, suite: "x" })).to.equal("VERSION_UNSUPPORTED");
    expect(refusal({ suite: 2 })).to.equal("SUITE_UNSUPPORTED");
    expect(refusal({ suite: 2, extra: 1 })).to.equal("SUITE_UNSUPPORTED");
    for (const v of [undefined, -1, "1", null, 2n ** 53n, new Float(1)])
      expect(refusal({ v })).to.equal("KEY_DOCUMENT_MALFORMED");
    for (const suite of [undefined, -1, "1", 2n ** 53n]) expect(refusal({ suite })).to.equal("KEY_DOCUMENT_MALFORMED");
  });

  it("with a member too many, too few or of another type is malformed", () => {
    const names = ["chain", "registry", "wallet", "version", "encryptionKey", "signingKey", "sealed"];
    for (const name of names) {
      for (const value of [undefined, null, "x", -1, 2n ** 53n, new Float(1), new Uint8Array(31), []]) {
        expect(refusal({ [name]: value }), name).to.equal("KEY_DOCUMENT_MALFORMED");
      }
    }
    expect(refusal({ extra: null })).to.equal("KEY_DOCUMENT_MALFORMED");
    for (const value of [null, 7, [], "x", new Uint8Array(0)]) {
      expect(codeOf(() => decodeKeyDocument(encode(value)))).to.equal("KEY_DOCUMENT_MALFORMED");
    }
  });

  it("with a seal that is none of the two methods is malformed", () => {
    for (const method of [undefined, "", "Wallet", "passphrase", "hardware", 1, null]) {
      expect(refusal({}, { method })).to.equal("KEY_DOCUMENT_MALFORMED");
    }
    for (const name of ["salt", "ciphertext"]) {
      for (const value of [undefined, "x", new Uint8Array(31), new Uint8Array(49), null]) {
        expect(refusal({}, { [name]: value })).to.equal("KEY_DOCUMENT_MALFORMED");
      }
    }
    expect(refusal({}, { scrypt: [2, 1, 1] })).to.equal("KEY_DOCUMENT_MALFORMED");
    expect(refusal({}, { method: "wallet" }, WITH_PASSPHRASE)).to.equal("KEY_DOCUMENT_MALFORMED");
  });

  it("with scrypt parameters outside RFC 7914 or over 1 GiB is malformed", () => {
    const refused: CborValue[] = [
      [],
      [2, 1],
      [2, 1, 1, 1],
      [0, 8, 1],
      [1, 8, 1],
      [3, 8, 1],
      [2 ** 21, 8, 1],
      [2 ** 17, 0, 1],
      [2 ** 17, 9, 1],
      [2 ** 17, 8, 0],
      [2 ** 17, 8, 5],
      [2 ** 16, 1, 1],
      [2 ** 20, 1, 1],
      ["2", 1, 1],
      null,
    ];
    for (const scrypt of refused) {
      expect(refusal({}, { scrypt }, WITH_PASSPHRASE), JSON.stringify(scrypt)).to.equal("KEY_DOCUMENT_MALFORMED");
    }
    for (const scrypt of [
      [2, 1, 1],
      [2 ** 15, 1, 4],
      [2 ** 20, 8, 4],
      [2 ** 20, 2, 1],
    ]) {
      expect(refusal({}, { scrypt }, WITH_PASSPHRASE)).to.equal(null);
    }
  });

  it("asks scrypt for nothing that scrypt refuses, whatever it says", async () => {
    const owner = { deployment: DEPLOYMENT, wallet: ALICE.address, version: 1 };
    for (const scrypt of [
      { N: 2, r: 1, p: 1 },
      { N: 2 ** 15, r: 1, p: 4 },
    ]) {
      const { sealed } = decodeKeyDocument(
        encodeKeyDocument({ ...DOCUMENT, sealed: { ...DOCUMENT.sealed, method: "passphrase", scrypt } }),
      );
      expect(await codeOfAsync(() => openSealedSeed(owner, sealed, { passphrase: "x" }))).to.equal(
        "SEALED_KEY_UNOPENED",
      );
    }
  });

  it("speaks of one registration only", () => {
    const { wallet, version, encryptionKey, signingKey } = DOCUMENT;
    const registered = { wallet, version, encryptionKey, signingKey };
    const check = (change: object, deployment: object = {}) =>
      codeOf(() => checkKeyDocument(DOCUMENT, { ...DEPLOYMENT, ...deployment }, { ...registered, ...change }));
    expect(check({})).to.equal(null);
    expect(check({}, { cidStore: BOB.address })).to.equal(null);
    for (const change of [
      { wallet: BOB.address },
      { version: 2 },
      { encryptionKey: signingKey },
      { signingKey: encryptionKey },
    ]) {
      expect(check(change)).to.equal("KEY_DOCUMENT_MISMATCH");
    }
    expect(check({}, { chainId: 1 })).to.equal("KEY_DOCUMENT_MISMATCH");
    expect(check({}, { keyRegistry: BOB.address })).to.equal("KEY_DOCUMENT_MISMATCH");
  });
});
