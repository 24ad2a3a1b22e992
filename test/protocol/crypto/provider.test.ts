import nodeCrypto from "node:crypto";
import { runInNewContext } from "node:vm";
import { expect } from "chai";
import { createNative } from "../../../protocol/crypto/native.ts";
import { portable } from "../../../protocol/crypto/portable.ts";
import { primitives } from "../../../protocol/crypto/provider.ts";
import { bundleForBrowser } from "../../fixtures/browser-bundle.ts";
import { IMPLEMENTATIONS } from "./implementations.ts";

const key = new Uint8Array(32).fill(1);
const iv = new Uint8Array(12);
const text = new TextEncoder().encode("text");

describe("The provider of primitives", () => {
  it("gives the native ones in Node, with libsodium", () => {
    expect(primitives.name).to.equal("native with libsodium");
  });

  it("gives the portable ones to a bundle for a browser, which has no Node module and does not look for one", async () => {
    const code = await bundleForBrowser('export * from "./protocol/crypto/provider.ts";', "provider");
    const run = (globals: object): unknown =>
      runInNewContext(`${code}; provider.primitives.name`, { TextEncoder, ...globals });
    expect(run({})).to.equal("portable");
    expect(run({ process })).to.equal("portable");
    expect(code).not.to.contain("node:");
  }).timeout(20_000);

  for (const each of IMPLEMENTATIONS) {
    it(`returns plain arrays that own their memory (${each.name})`, () => {
      const signer = each.ed25519Signer(key);
      const sealed = each.aesGcmSeal(key, iv, text, text);
      const results = {
        sha256: each.sha256(text),
        hkdf: each.hkdf(key, key, text, 42),
        scrypt: each.scrypt(text, text, { N: 2, r: 1, p: 1 }, 32),
        aesGcmSeal: sealed,
        aesGcmOpen: each.aesGcmOpen(key, iv, sealed, text),
        x25519PublicKey: each.x25519PublicKey(key),
        x25519: each.x25519(key, each.x25519PublicKey(key)),
        publicKey: signer.publicKey,
        signature: signer.sign(text),
      };
      for (const [name, bytes] of Object.entries(results)) {
        expect(bytes, name).not.to.equal(null);
        expect(Object.getPrototypeOf(bytes), name).to.equal(Uint8Array.prototype);
        expect(bytes?.buffer.byteLength, name).to.equal(bytes?.byteLength);
      }
    });

    it(`leaves its inputs as they were (${each.name})`, () => {
      const inputs = [Uint8Array.from(key), Uint8Array.from(iv), Uint8Array.from(text)] as const;
      const [itsKey, itsIv, itsText] = inputs;
      const signer = each.ed25519Signer(itsKey);
      const signature = signer.sign(itsText);
      each.ed25519Verify([{ publicKey: signer.publicKey, message: itsText, signature }]);
      each.aesGcmOpen(itsKey, itsIv, each.aesGcmSeal(itsKey, itsIv, itsText, itsText), itsText);
      each.x25519(itsKey, each.x25519PublicKey(itsKey));
      each.hkdf(itsKey, itsIv, itsText, 32);
      expect(inputs).to.deep.equal([key, iv, text]);
    });
  }
});

describe("The native primitives", () => {
  /** Native primitives that count their imports of public keys, and derive nothing. */
  function createCounting() {
    let imports = 0;
    const counting = createNative({
      ...nodeCrypto,
      createPublicKey: (input: nodeCrypto.PublicKeyInput) => {
        imports++;
        return nodeCrypto.createPublicKey(input);
      },
      createPrivateKey: () => nodeCrypto.createSecretKey(key),
      diffieHellman: () => Buffer.alloc(32, 1),
    } as unknown as typeof nodeCrypto);
    const use = (n: number): void => {
      const publicKey = new Uint8Array(32).fill(9);
      new DataView(publicKey.buffer).setUint32(4, n);
      counting.x25519(key, publicKey);
    };
    return { counting, use, countImports: () => imports };
  }

  it("import the key of a sender who recurs once", () => {
    const { counting, countImports } = createCounting();
    const signer = portable.ed25519Signer(key);
    const claim = { publicKey: signer.publicKey, message: text, signature: signer.sign(text) };
    expect(counting.ed25519Verify([claim, claim, claim])).to.deep.equal([true, true, true]);
    expect(countImports()).to.equal(1);
  });

  it("keep 4096 imported keys and drop the longest unused", () => {
    const { use, countImports } = createCounting();
    for (let n = 0; n < 4096; n++) use(n);
    expect(countImports()).to.equal(4096);
    use(0); // now 1 is the longest unused
    use(4096);
    expect(countImports()).to.equal(4097);
    use(0);
    expect(countImports()).to.equal(4097);
    use(1);
    expect(countImports()).to.equal(4098);
  });

  it("never take a key of one curve for a key of the other", () => {
    const publicKey = portable.ed25519Signer(key).publicKey;
    const each = createNative(nodeCrypto);
    const claim = { publicKey, message: text, signature: portable.ed25519Signer(key).sign(text) };
    expect(each.x25519(key, publicKey)).to.deep.equal(portable.x25519(key, publicKey));
    expect(each.ed25519Verify([claim])).to.deep.equal([true]);
  });

  it("ask the portable ones when node:crypto fails to derive or to verify", () => {
    const fail = (): never => {
      throw new Error("failed during derivation");
    };
    const failing = createNative({ ...nodeCrypto, diffieHellman: fail, verify: fail });
    const signer = portable.ed25519Signer(key);
    const claim = { publicKey: signer.publicKey, message: text, signature: signer.sign(text) };
    expect(failing.x25519(key, portable.x25519PublicKey(key))).to.deep.equal(
      portable.x25519(key, portable.x25519PublicKey(key)),
    );
    expect(failing.x25519(key, new Uint8Array(32))).to.equal(null);
    expect(failing.ed25519Verify([claim, { ...claim, message: key }])).to.deep.equal([true, false]);
  });
});
