/** The nodes that a chain is read from: which of them are asked, how many of them have to say the same, and what they say together. */
import { computeBackoffMs } from "../../../protocol/backoff.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { Log } from "../../log.ts";
import { headerCall } from "../events/block-range.ts";
import { isAskedTooMuch } from "../rpc/call-batches.ts";
import { encodeViews, parseViews, type View } from "../rpc/contract-view.ts";
import { Endpoint, isPassing } from "../rpc/endpoint.ts";
import { malformed, parseBlock, parseData, type Block } from "../rpc/parsed-answer.ts";
import { faultOf } from "../rpc/rpc-fault.ts";
import type { Rpc, RpcCall } from "../rpc/rpc.ts";
import { identify, isSameChain, readIdentity, type ChainIdentity } from "./chain-identity.ts";
import { agreeOnView, type ChainView } from "./chain-view.ts";
import type { Contracts } from "./contract-check.ts";
import { fetchNodeView, type Checkpoint, type NodeView } from "./node-view.ts";
import { countRequired, readFromQuorum, takeSame, type Policy } from "./quorum.ts";

export interface PoolOptions {
  readonly policy: Policy;
  readonly chainId: number | undefined;
  readonly finalityDepth: number;
  /** Whether a service asks, which runs for years: see {@link ClientOptions}. */
  readonly isService: boolean;
  readonly now: () => number;
  readonly pause: (ms: number) => Promise<void>;
  readonly log: Log;
}

/** A service that ended because its provider was asked too much would be started again, and ask again. */
const MAX_PAUSES_AT_START = 8;
const FIRST_PAUSE_AT_START_MS = 1_000;
const MAX_PAUSE_AT_START_MS = 30_000;
/** A node that starts may know less for some seconds. A command has no time to wait for that. */
const TAG_REFUSED_FOR_MS = 10_000;

export class NodePool {
  readonly endpoints: readonly Endpoint[];
  readonly identity: ChainIdentity;
  /** How many nodes have to say the same. */
  readonly required: number;
  private readonly options: PoolOptions;
  /** Who said what the last view shows, best first: they have what it shows. */
  private agreeing: readonly Endpoint[];

  private constructor(endpoints: readonly Endpoint[], identity: ChainIdentity, options: PoolOptions) {
    this.endpoints = endpoints;
    this.agreeing = endpoints;
    this.identity = identity;
    this.options = options;
    this.required = countRequired(options.policy, endpoints.length);
  }

  /**
   * Checks chain and contracts at every node that answers; where most of the nodes are enough, one that is away now is checked when
   * it comes.
   * @throws CHAIN_UNREACHABLE when too few answer; CHAIN_ID_WRONG, CONTRACT_MISSING, CONTRACT_WRONG, CHAIN_DISAGREES
   */
  static async open(rpcs: readonly Rpc[], contracts: Contracts, options: PoolOptions): Promise<NodePool> {
    const { now, pause, log, isService, policy, chainId } = options;
    const tagRefusedForMs = isService ? TAG_REFUSED_FOR_MS : 0;
    const endpoints = rpcs.map((rpc) => new Endpoint(rpc, { now, tagRefusedForMs }));
    for (let pauses = 0; ; pauses++) {
      try {
        const identity = await identify(endpoints, contracts, { chainId, isEachNeeded: policy === "all" });
        return new NodePool(endpoints, identity, options);
      } catch (error) {
        if (!isService || !isAskedTooMuch(error) || pauses === MAX_PAUSES_AT_START) throw error;
        log(`${(error as Error).message}; the chain is asked again in a moment`, { level: "warning" });
        await pause(computeBackoffMs(pauses + 1, FIRST_PAUSE_AT_START_MS, MAX_PAUSE_AT_START_MS));
      }
    }
  }

  /** Nodes that said what the last view shows, best first; before the first view, all. */
  get trusted(): readonly Endpoint[] {
    return this.agreeing;
  }

  /** Whether each node has to give by itself whatever is read. */
  get isUnanimous(): boolean {
    return this.options.policy === "all";
  }

  /** How many of the trusted nodes have to say the same. */
  get quorum(): number {
    return Math.min(this.agreeing.length, this.required);
  }

  /**
   * Where the chain stands, and what it has at a checkpoint: one request to each node.
   * @param next a block whose events the best node is asked for too
   * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES
   */
  async fetchView(checkpoint: Checkpoint | null, next: number | null): Promise<ChainView> {
    const views: NodeView[] = [];
    const reasons: DmtpError[] = [];
    const asked = await this.available();
    const [primary] = asked;
    await Promise.all(
      asked.map(async (endpoint) => {
        try {
          const own = { checkpoint, next: endpoint === primary ? next : null };
          views.push(await fetchNodeView(endpoint, this.identity.deployment, own));
        } catch (error) {
          if (!isPassing(error)) throw error;
          if (faultOf(error) === null) endpoint.rest();
          reasons.push(error as DmtpError);
        }
      }),
    );
    if (views.length < (this.isUnanimous ? this.required : 1))
      throw reasons[0] ?? new DmtpError("CHAIN_UNREACHABLE", "no node can be used now");
    views.sort((a, b) => asked.indexOf(a.endpoint) - asked.indexOf(b.endpoint));
    const { finalityDepth } = this.options;
    const { view, endpoints } = await agreeOnView(views, { required: this.required, finalityDepth, checkpoint });
    this.agreeing = endpoints;
    return view;
  }

  /** What a quorum of the nodes answers to these calls. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES and what `parse` throws */
  async ask<T>(calls: readonly RpcCall[], parse: (results: readonly unknown[]) => T): Promise<T> {
    if (calls.length === 0) return parse([]);
    const { quorum } = this;
    return readFromQuorum(
      this.trusted,
      quorum,
      async (endpoint) => parse(await endpoint.batch(calls)),
      (given) => takeSame(given, quorum, calls[0]?.method ?? "nothing"),
    );
  }

  /** Null when the chain is not that long. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  fetchBlock(number: number): Promise<Block | null> {
    return this.ask([headerCall(number)], ([answer]) => {
      const block = parseBlock(answer ?? null);
      if (block !== null && block.number !== number) throw malformed(`block ${number}`);
      return block;
    });
  }

  /** The first value that each view returns at the end of a block. @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  async callViews(views: readonly View[], blockNumber: number): Promise<unknown[]> {
    return parseViews(views, await this.ask(encodeViews(views, blockNumber), (results) => results.map(parseData)));
  }

  /**
   * Nodes that don't rest, checked; a wrong one is never used. When all rest, or when each of them is needed, they are asked all the
   * same.
   * @throws where each of them is needed, what is wrong with one
   */
  private async available(): Promise<Endpoint[]> {
    const awake = this.endpoints.filter(({ isAvailable }) => isAvailable);
    const asked = awake.length > 0 && !this.isUnanimous ? awake : [...this.endpoints];
    const right = await Promise.all(
      asked.map(async (endpoint) => {
        if (endpoint.isChecked) return true;
        try {
          const { deployment } = this.identity;
          const found = await readIdentity(endpoint.rpc, deployment, deployment.chainId);
          if (!isSameChain(found, this.identity)) throw new DmtpError("CHAIN_DISAGREES", "it serves another chain");
          endpoint.isChecked = true;
          return true;
        } catch (error) {
          if (this.isUnanimous) throw error;
          const message = error instanceof Error ? error.message : "it failed";
          if (!(error instanceof DmtpError) || error.code !== "CHAIN_UNREACHABLE")
            this.options.log(`${endpoint.name} is not used: ${message}`, { level: "warning" });
          endpoint.rest();
          return false;
        }
      }),
    );
    return asked.filter((_, i) => right[i]);
  }
}
