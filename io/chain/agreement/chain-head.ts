/** Where the chain stands, by the word of several nodes. */
import { DmtpError } from "../../../protocol/error.ts";
import { agree } from "./unanimity.ts";
import { malformed, parseBlock, type Block } from "../rpc/parsed-answer.ts";
import { FinalityTag } from "./finality-tag.ts";
import { attempt, type Rpc } from "../rpc/rpc.ts";
import { headerCall } from "../events/block-range.ts";

export interface ChainHead {
  readonly block: Block;
  /** The highest final block number: by the `finalized` tag, or else the head's minus a depth. */
  readonly finalized: number;
}

/** Deeper than any reorg Polygon had (157 blocks, in 2023). */
export const DEFAULT_DEPTH = 256;

const ATTEMPTS = 3;
const PAUSE_MS = 1_000;

export class ChainHeads {
  private readonly rpcs: readonly Rpc[];
  private readonly depth: number;
  private readonly pause: (ms: number) => Promise<void>;
  private readonly tags: ReadonlyMap<Rpc, FinalityTag>;

  constructor(rpcs: readonly Rpc[], pause: (ms: number) => Promise<void>, depth = DEFAULT_DEPTH) {
    this.rpcs = rpcs;
    this.pause = pause;
    this.depth = depth;
    this.tags = new Map(rpcs.map((rpc) => [rpc, new FinalityTag({ refusedForMs: 0, now: () => performance.now() })]));
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
    const tag = this.tags.get(rpc);
    if (tag === undefined) throw new DmtpError("INTERNAL", "a node that was not given");
    for (let asked = 1; tag.isAsked; asked++) {
      const [answer] = await attempt(rpc, [headerCall("finalized")]);
      if (answer !== undefined) tag.take(answer);
      // A command has no time to wait for hours; what fails three times in some seconds is believed, or nothing is final.
      if (tag.block !== null || asked === ATTEMPTS || (answer !== undefined && "result" in answer)) break;
      await this.pause(PAUSE_MS * asked);
    }
    return tag.finalizedAt(head, this.depth);
  }

  private async get(rpc: Rpc, tag: string): Promise<Block | null> {
    return parseBlock(await rpc.request({ method: "eth_getBlockByNumber", params: [tag, false] }));
  }
}
