import { expect } from "chai";

import { equal } from "../../protocol/bytes.ts";
import { cidOf, digestOfCid } from "../../protocol/cid.ts";
import { isIncluded, proveLeaves, rootOfPath } from "../../protocol/inclusion.ts";
import { append, EMPTY_RANGE, rootOf } from "../../protocol/merkle.ts";
import {
  checkReceipt,
  isKeyAuthorized,
  judgePromise,
  makeReceipts,
  promiseRequest,
  relayKeyRequest,
  type Receipt,
  type RelayKey,
} from "../../protocol/receipt.ts";
import { DEPLOYMENT } from "../fixtures/history.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { FixedWallet, fixedBytes } from "../fixtures/wallet.ts";

describe("Inclusion proofs (RFC 9162, 2.1.3)", () => {
  const leaves = Array.from({ length: 40 }, (_, i) => fixedBytes(`leaf ${i}`));

  it("lead from each leaf of each size to the root, and from no other place, size or leaf", () => {
    for (let size = 1; size <= leaves.length; size++) {
      const some = leaves.slice(0, size);
      const { root, paths } = proveLeaves(some);
      expect(root).to.deep.equal(rootOf(append(EMPTY_RANGE, some)));
      for (const [index, leaf] of some.entries()) {
        const path = paths[index] ?? [];
        expect(isIncluded(root, leaf, index, size, path), `${index} of ${size}`).to.equal(true);
        for (let other = 0; other < size; other++) {
          if (other !== index)
            expect(isIncluded(root, leaf, other, size, path), `${index} as ${other}`).to.equal(false);
        }
        expect(isIncluded(root, fixedBytes("another"), index, size, path)).to.equal(false);
        if (path.length > 0) expect(rootOfPath(leaf, index, size, path.slice(1))).to.equal(null);
        expect(rootOfPath(leaf, index, size, [...path, root])).to.equal(null);
      }
    }
  });

  it("have no place outside of the tree, and no hash of another length", () => {
    const { paths } = proveLeaves(leaves);
    const [leaf = new Uint8Array()] = leaves;
    const [path = []] = paths;
    for (const [index, size] of [
      [-1, 40],
      [40, 40],
      [0.5, 40],
      [0, 0],
      [0, Number.NaN],
    ] as const) {
      expect(rootOfPath(leaf, index, size, path), `${index} of ${size}`).to.equal(null);
    }
    expect(rootOfPath(leaf, 0, 40, path.with(0, new Uint8Array(31)))).to.equal(null);
  });
});

describe("A relay's receipt (SPEC 14)", () => {
  const relay = new FixedWallet("a relay's key");
  const key: RelayKey = { signer: relay.address, fromBlock: 100, toBlock: 200 };
  const cids = [1, 2, 3, 4, 5].map((i) => cidOf(Uint8Array.of(i)));
  const receipts = makeReceipts(cids, { fromBlock: 150, byBlock: 250 }, (promise) =>
    relay.sign(promiseRequest(DEPLOYMENT, promise)),
  );
  const check = (receipt: Receipt, cid = receipt.cid, by = key, deployment = DEPLOYMENT): string | null =>
    codeOf(() => checkReceipt(deployment, cid, receipt, by));

  it("is right for each message of its batch, by one signature", () => {
    expect(new Set(receipts.map(({ signature }) => signature)).size).to.equal(1);
    for (const receipt of receipts) expect(check(receipt)).to.equal(null);
  });

  it("is wrong when anything in it is another, or it is shown for something else", () => {
    const [receipt, second] = receipts;
    if (receipt === undefined || second === undefined) throw new Error("no receipts");
    const wrong: [name: string, code: string | null][] = [
      ["another message", check(receipt, second.cid)],
      ["another message's place", check({ ...receipt, cid: second.cid })],
      ["another place", check({ ...receipt, index: 1 })],
      ["another size", check({ ...receipt, size: 6 })],
      ["another path", check({ ...receipt, path: second.path })],
      ["no path", check({ ...receipt, path: [] })],
      ["a later block", check({ ...receipt, byBlock: 251 })],
      ["an earlier head", check({ ...receipt, fromBlock: 149 })],
      ["a promise of nothing", check({ ...receipt, byBlock: 150 })],
      [
        "one bit of the signature",
        check({ ...receipt, signature: receipt.signature.with(7, (receipt.signature[7] ?? 0) ^ 1) }),
      ],
      ["another key", check(receipt, receipt.cid, { ...key, signer: new FixedWallet("another").address })],
      ["before its key's time", check(receipt, receipt.cid, { ...key, fromBlock: 151 })],
      ["after its key's time", check(receipt, receipt.cid, { ...key, toBlock: 149 })],
      ["another chain", check(receipt, receipt.cid, key, { ...DEPLOYMENT, chainId: 1 })],
      ["another CIDStore", check(receipt, receipt.cid, key, { ...DEPLOYMENT, cidStore: DEPLOYMENT.keyRegistry })],
    ];
    for (const [name, code] of wrong) expect(code, name).to.equal("RECEIPT_INVALID");
    expect(equal(digestOfCid(receipt.cid), digestOfCid(second.cid))).to.equal(false);
  });

  it("is by a key that an account has authorised, for these blocks and no others", () => {
    const authority = new FixedWallet("the anchorer");
    const signature = authority.sign(relayKeyRequest(DEPLOYMENT, key));
    expect(isKeyAuthorized(DEPLOYMENT, key, signature, authority.address)).to.equal(true);
    expect(isKeyAuthorized(DEPLOYMENT, { ...key, toBlock: 201 }, signature, authority.address)).to.equal(false);
    expect(isKeyAuthorized(DEPLOYMENT, key, signature, relay.address)).to.equal(false);
  });

  it("is kept by an anchor in time, broken when the time is up without one, and open until then", () => {
    const promise = { byBlock: 250 };
    expect(judgePromise(promise, 250, 250, true)).to.equal("kept");
    expect(judgePromise(promise, 200, 9_999, false)).to.equal("kept");
    expect(judgePromise(promise, 251, 260, true)).to.equal("broken");
    expect(judgePromise(promise, null, 250, true)).to.equal("broken");
    expect(judgePromise(promise, null, 249, false)).to.equal("open");
  });

  it("is void where a key of the message was revoked before an anchor could list it", () => {
    expect(judgePromise({ byBlock: 250 }, null, 250, false)).to.equal("void");
  });
});
