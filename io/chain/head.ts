/** Where the chain stands, by the word of several nodes. */
import { DmtpError } from "../../protocol/error.ts";
import { agree } from "./agreement.ts";
import { malformed, parseBlock, type Block } from "./answer.ts";
import { faultOf } from "./rpc-fault.ts";
import type { Rpc } from "./rpc.ts";

export interface ChainHead {
  readonly block: Block;
  /** The highest final block number: by the `finalized` tag, or else the head's minus a depth. */
  readonly finalized: number;
}

/** Deeper than any reorg Polygon had (157 blocks, in 2023). */
export const DEFAULT_DEPTH = 256;

export class ChainHeads {
  private readonly rpcs: readonly Rpc[];
  private readonly depth: number;
  /** Nodes that do not know the tag are not asked for it again. */
  private readonly withoutTag = new Set<Rpc>();

  constructor(rpcs: readonly Rpc[], depth = DEFAULT_DEPTH) {
    this.rpcs = rpcs;
    this.depth = depth;
  }

  /** The newest block that every node has; final is what every node calls final. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  async read(): Promise<ChainHead> {
    const latest = await Promise.all(this.rpcs.map(async (rpc) => ({ rpc, block: await this.latest(rpc) })));
    const finalized = await Promise.all(latest.map(({ rpc, block }) => this.finalized(rpc, block.number)));
    const number = Math.min(...latest.map(({ block }) => block.number));
    // One node alone needs no second question.
    const [only] = latest;
    const block = latest.length === 1 && only !== undefined ? only.block : await this.block(number);
    if (block === null) throw new DmtpError("CHAIN_DISAGREES", `block ${number} is gone again`);
    return { block, finalized: Math.min(number, ...finalized) };
  }

  /** @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  block(number: number): Promise<Block | null> {
    return agree(this.rpcs, `block ${number}`, async (rpc) => {
      const block = await this.get(rpc, `0x${number.toString(16)}`);
      if (block !== null && block.number !== number) throw malformed(`block ${number}`);
      return block;
    });
  }

  private async latest(rpc: Rpc): Promise<Block> {
    const block = await this.get(rpc, "latest");
    if (block === null) throw malformed("a block");
    return block;
  }

  private async finalized(rpc: Rpc, head: number): Promise<number> {
    const byDepth = Math.max(0, head - this.depth);
    if (this.withoutTag.has(rpc)) return byDepth;
    try {
      const block = await this.get(rpc, "finalized");
      // Null: the tag is known, and nothing is final yet.
      return block === null ? byDepth : Math.min(head, block.number);
    } catch (error) {
      if (faultOf(error)?.fault !== "answer") throw error;
      this.withoutTag.add(rpc);
      return byDepth;
    }
  }

  private async get(rpc: Rpc, tag: string): Promise<Block | null> {
    return parseBlock(await rpc.request({ method: "eth_getBlockByNumber", params: [tag, false] }));
  }
}
