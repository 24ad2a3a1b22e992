import { expect } from "chai";
import fc from "fast-check";
import { base32 } from "multiformats/bases/base32";
import { base58btc } from "multiformats/bases/base58";
import { CID } from "multiformats/cid";
import { create } from "multiformats/hashes/digest";

import { MAX_BLOCK_BYTES } from "../../protocol/cbor.ts";
import {
  bytesOfCid,
  cidOf,
  cidOfBytes,
  cidOfDigest,
  digestOfCid,
  isCid,
  linkTo,
  verifyBlock,
} from "../../protocol/cid.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { anyBytes } from "./crypto/implementations.ts";

const DAG_CBOR = 0x71;
const SHA2_256 = 0x12;

describe("CIDs", () => {
  it("are those of multiformats, as text and as bytes", () => {
    fc.assert(
      fc.property(anyBytes(32), (digest) => {
        const twin = CID.createV1(DAG_CBOR, create(SHA2_256, digest));
        const cid = cidOfDigest(digest);
        expect(cid).to.equal(twin.toString(base32));
        expect(bytesOfCid(cid)).to.deep.equal(twin.bytes);
        expect(linkTo(cid).bytes).to.deep.equal(twin.bytes);
        expect(cidOfBytes(twin.bytes)).to.equal(cid);
        expect(digestOfCid(cid)).to.deep.equal(Uint8Array.from(digest));
        expect(isCid(cid)).to.equal(true);
      }),
    );
  });

  it("have one text only: every change of a character is another CID or none", () => {
    const cid = cidOf(new Uint8Array([0xa0]));
    for (let at = 0; at < cid.length; at++) {
      for (const character of "abcxyzABCZ2345670189=/ \n") {
        const changed = cid.slice(0, at) + character + cid.slice(at + 1);
        const isOther = isCid(changed) && changed !== cid;
        if (isOther) expect(digestOfCid(changed)).not.to.deep.equal(digestOfCid(cid));
        if (at < 7 && changed !== cid) expect(isCid(changed), changed).to.equal(false);
      }
    }
  });

  it("are refused in every other form", () => {
    const digest = create(SHA2_256, new Uint8Array(32).fill(7));
    const canonical = CID.createV1(DAG_CBOR, digest);
    const refused: unknown[] = [
      CID.createV0(digest).toString(),
      CID.createV1(0x55, digest).toString(),
      canonical.toString(base58btc),
      canonical.toString().toUpperCase(),
      `${canonical.toString()}a`,
      canonical.toString().slice(0, -1),
      ` ${canonical.toString()}`,
      `${canonical.toString()}\n`,
      `/ipfs/${canonical.toString()}`,
      // The last character's two low bits are padding and have to be zero.
      `${canonical.toString().slice(0, -1)}b`,
      "",
      null,
      7,
      canonical,
    ];
    for (const text of refused) expect(isCid(text), String(text)).to.equal(false);
    expect(cidOfBytes(CID.createV1(0x55, digest).bytes)).to.equal(null);
    expect(cidOfBytes(CID.createV0(digest).bytes)).to.equal(null);
    expect(cidOfBytes(canonical.bytes.subarray(0, 35))).to.equal(null);
  });

  it("name exactly their block", () => {
    const block = new Uint8Array([0x83, 1, 2, 3]);
    expect(verifyBlock(cidOf(block), block)).to.equal(block);
    expect(codeOf(() => verifyBlock(cidOf(block), new Uint8Array([0x83, 1, 2, 4])))).to.equal("BLOCK_HASH_MISMATCH");
    expect(codeOf(() => verifyBlock(cidOf(block), new Uint8Array(0)))).to.equal("BLOCK_HASH_MISMATCH");
    const large = new Uint8Array(MAX_BLOCK_BYTES + 1);
    expect(codeOf(() => verifyBlock(cidOf(large), large))).to.equal("BLOCK_TOO_LARGE");
  });
});
