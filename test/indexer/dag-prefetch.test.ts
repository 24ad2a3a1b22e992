import { expect } from "chai";

import { prefetchDag } from "../../indexer/dag-prefetch.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, linkTo, type Cid } from "../../protocol/cid.ts";
import { deltaOf, History, Person } from "../fixtures/history.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { DmtpError } from "../../protocol/error.ts";

describe("A block and what it leads to", () => {
  const [alice, bob, carol] = [new Person("Alice"), new Person("Bob"), new Person("Carol")];
  const history = new History();
  for (const person of [alice, bob, carol]) history.register(person);
  const first = history.anchor(deltaOf([history.room(alice, bob), [history.message(alice, bob)]])).cid!;
  const messages = [2, 3].map((seq) => history.message(alice, bob, { seq }));
  const other = history.message(carol, alice);
  const known = new Set(history.blocks.keys());
  const manifest = history.anchor(
    deltaOf([history.room(alice, bob), messages], [history.room(alice, carol), [other]]),
  ).cid!;
  const parts = [...history.blocks.keys()].filter((cid) => !known.has(cid) && cid !== manifest);

  async function ask(
    cid: Cid,
    blocks: ReadonlyMap<Cid, Uint8Array> = history.blocks,
    isUnderWay: (cid: Cid) => boolean = () => false,
  ): Promise<{ readonly family: Cid[]; readonly asked: Cid[] }> {
    const asked: Cid[] = [];
    const getAll = (cids: readonly Cid[]): Promise<ReadonlyMap<Cid, Uint8Array>> => {
      asked.push(...cids);
      const found = cids.map((each) => [each, blocks.get(each)] as const);
      return Promise.resolve(new Map(found.filter((pair): pair is [Cid, Uint8Array] => pair[1] !== undefined)));
    };
    const family = await prefetchDag({ getAll }, [cid], isUnderWay);
    for (const [each, bytes] of family) expect(cidOf(bytes)).to.equal(each);
    return { family: [...family.keys()], asked };
  }

  it("is a manifest with its shards, heads and messages, and not the manifest before it", async () => {
    const { family, asked } = await ask(manifest);
    expect(family).to.have.members([manifest, ...parts, ...messages, other]);
    expect(family).not.to.include(first);
    expect(asked).to.have.members(family);
  });

  it("is a manifest alone where it lists more than is taken: each shard is fetched with its messages then", async () => {
    const limits = { maxBlocks: 2, maxBytes: 1_000_000 };
    const getAll = (cids: readonly Cid[]) =>
      Promise.resolve(new Map(cids.map((cid) => [cid, history.blocks.get(cid)!])));
    const found = await prefetchDag({ getAll }, [manifest], undefined, limits);
    expect([...found.keys()]).to.deep.equal([manifest]);
  });

  it("is a shard with its messages, and a message by itself", async () => {
    const shard = parts.find((cid) => history.replay().anchors[1]!.manifest!.rooms.includes(cid))!;
    expect((await ask(shard)).family).to.have.members([shard, ...messages, other]);
    expect(await ask(other)).to.deep.equal({ family: [other], asked: [other] });
  });

  it("is without what the store does not have, has other bytes for, or is under way", async () => {
    const blocks = new Map(history.blocks);
    blocks.delete(messages[0]!);
    blocks.set(messages[1]!, blocks.get(other)!);
    expect((await ask(manifest, blocks)).family).to.have.members([manifest, ...parts, other]);
    const { family, asked } = await ask(manifest, history.blocks, (cid) => cid === other);
    expect(family).to.have.members([manifest, ...parts, ...messages]);
    expect(asked).not.to.include(other);
  });

  it("goes no further than from a manifest to messages, whatever they look like", async () => {
    const blocks = new Map(history.blocks);
    const put = (bytes: Uint8Array): Cid => {
      const cid = cidOf(bytes);
      blocks.set(cid, bytes);
      return cid;
    };
    // Each links to the one before.
    const chain = [put(encode([]))];
    for (let i = 0; i < 6; i++) chain.unshift(put(encode([linkTo(chain[0]!)])));
    expect((await ask(chain[0]!, blocks)).family).to.deep.equal(chain.slice(0, 3));
  });

  it("asks a store for no more than some thousand blocks, and for none that a large shard names", async () => {
    const links = (count: number, from = 0): Uint8Array =>
      encode(Array.from({ length: count }, (_, i) => linkTo(cidOf(encode([from + i])))));
    const several = Array.from({ length: 5 }, (_, i) => links(8_000, 8_000 * i));
    const root = encode(several.map((bytes) => linkTo(cidOf(bytes))));
    const blocks = new Map([root, ...several].map((bytes) => [cidOf(bytes), bytes]));
    const { family, asked } = await ask(cidOf(root), blocks);
    expect(family).to.have.length(6);
    expect(asked).to.have.length(16_384);
    const large = links(8_193);
    expect(await ask(cidOf(large), new Map([[cidOf(large), large]]))).to.deep.equal({
      family: [cidOf(large)],
      asked: [cidOf(large)],
    });
  });

  it("is refused when the store fails", async () => {
    const getAll = (): Promise<never> => Promise.reject(new DmtpError("CONTENT_UNREACHABLE", "the disk failed"));
    const family = prefetchDag({ getAll }, [manifest]);
    expect(await codeOfAsync(() => family)).to.equal("CONTENT_UNREACHABLE");
  });
});
