import { expect } from "chai";

import { LINK_HEAD, linkedDigests, linksOf } from "../../io/content/links.ts";
import { Link, mapOf, type CborValue } from "../../protocol/cbor.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, cidOfDigest, linkTo } from "../../protocol/cid.ts";
import { ALICE, BOB, deltaOf, History } from "../fixtures/history.ts";

describe("The links of a block", () => {
  const history = new History();
  for (const person of [ALICE, BOB]) history.register(person);
  const messages = [history.message(ALICE, BOB), history.message(BOB, ALICE)];
  const draft = history.draft(deltaOf([history.room(ALICE, BOB), messages]));
  const [a, b] = [1, 2].map((byte) => cidOf(Uint8Array.of(byte)));

  it("are a manifest's shards and heads, a shard's messages, and none of heads and messages", () => {
    const { manifest } = draft;
    const links = (cid: string) => linksOf(history.blocks.get(cid as never)!);
    expect(links(draft.cid)).to.have.members([...manifest.rooms, ...manifest.heads]);
    expect(links(manifest.rooms[0]!)).to.deep.equal(messages);
    expect(links(manifest.heads[0]!)).to.deep.equal([]);
    expect(links(messages[0]!)).to.deep.equal([]);
  });

  it("are found wherever they are, in their order, and only links to DMTP blocks", () => {
    const raw = new Link(Uint8Array.of(1, 0x55, ...linkTo(a!).bytes.subarray(2)));
    const value: CborValue = [[linkTo(a!), null, raw], mapOf({ x: [linkTo(b!)], y: linkTo(a!) })];
    expect(linksOf(encode(value))).to.deep.equal([a, b, a]);
  });

  it("are among what looks like one, which is quick to find", () => {
    const digests = (block: Uint8Array) => [...linkedDigests(block)].map((digest) => cidOfDigest(digest));
    for (const block of history.blocks.values()) expect(digests(block)).to.deep.equal(linksOf(block));
    const links = encode([linkTo(a!), linkTo(b!)]);
    expect(digests(encode([links, linkTo(b!)]))).to.deep.equal([a, b, b]);
    // The head of a link within another's: whichever is one, it is found.
    const twice = Uint8Array.of(...LINK_HEAD.subarray(0, 8), ...encode(linkTo(a!)));
    expect(digests(twice)).to.deep.equal([a]);
    expect(digests(links.subarray(0, links.length - 1))).to.deep.equal([a]);
  });

  it("are none in bytes that only look like one, or are no block", () => {
    expect(linksOf(encode([encode(linkTo(a!))]))).to.deep.equal([]);
    expect(linksOf(encode(linkTo(a!)).subarray(0, 20))).to.deep.equal([]);
    expect(linksOf(new Uint8Array(0))).to.deep.equal([]);
  });
});
