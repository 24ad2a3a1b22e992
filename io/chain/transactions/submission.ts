/**
 * One contract call, brought onto the chain by one nonce: signed, written down, handed to the node, watched, and replaced at a
 * higher price while it waits. All its transactions have the same nonce, so that one of them is mined at most.
 */
import { checksummed } from "../../../protocol/address.ts";
import type { Hex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { Account } from "./account.ts";
import { formatGwei, formatPol } from "./amount.ts";
import { parseBigQuantity, parseBlock, parseQuantity } from "../rpc/parsed-answer.ts";
import type { Attempt, AttemptLog } from "./attempt.ts";
import { refusalOf, type Refusal } from "./broadcast.ts";
import { quantityOf } from "../rpc/contract-view.ts";
import { estimateGas, type ContractCall } from "./contract-call.ts";
import { feesWithin, isWithin, readFeeMarket, type FeeLimits, type FeeMarket } from "./fees.ts";
import { parseReceipt, type MinedTransaction } from "./receipt.ts";
import { faultOf } from "../rpc/rpc-fault.ts";
import type { Rpc } from "../rpc/rpc.ts";

export interface SubmissionOptions {
  readonly limits: FeeLimits;
  readonly pause: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Milliseconds of a clock that never jumps. */
  readonly elapsedMs: () => number;
  readonly signal?: AbortSignal | undefined;
  /** How long it is waited for in this run. */
  readonly timeoutMs: number;
  readonly onProgress?: (text: string) => void;
  readonly onNote?: (text: string) => void;
}

/** `overtaken`: the state that the call was made for is gone, or its nonce was used by a transaction that is not its own. */
export type Submitted =
  { readonly status: "mined"; readonly mined: MinedTransaction } | { readonly status: "overtaken" };

const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 2_000;
/** A node behind a load balancer may know a nonce before it knows the receipt. */
const POLLS_WITHOUT_RECEIPT = 6;
/** Before anything was signed, a node that does not answer is not waited for any longer. */
const MAX_FAILURES_AT_FIRST = 3;
const REBROADCAST_AFTER_BLOCKS = 5;
/** After this number of blocks, half a minute on Polygon, a transaction that still waits is replaced by a dearer one. */
const REPLACE_AFTER_BLOCKS = 15;

export class Submission {
  private readonly rpc: Rpc;
  private readonly account: Account;
  private readonly call: ContractCall;
  private readonly log: AttemptLog;
  private readonly options: SubmissionOptions;
  private nonce: number | null = null;
  private pausedMs = FIRST_PAUSE_MS;
  private usedPolls = 0;
  private failures = 0;
  private foreignSinceBlock = -1;
  private cutOffSinceBlock = -1;
  private broadcastAtBlock = -1;
  private saidWhy = "";

  constructor(rpc: Rpc, account: Account, call: ContractCall, log: AttemptLog, options: SubmissionOptions) {
    this.rpc = rpc;
    this.account = account;
    this.call = call;
    this.log = log;
    this.options = options;
  }

  /**
   * Goes on until a transaction is mined (a revert is mined too), the call is overtaken, or time is up.
   * @throws FEE_TOO_HIGH, FUNDS_INSUFFICIENT, TRANSACTION_FAILED and what the call's judge says, all before anything of this
   *   call waits at a node; TRANSACTION_PENDING, CHAIN_UNREACHABLE when time is up: calling again goes on with it
   */
  async run(): Promise<Submitted> {
    const startedAtMs = this.options.elapsedMs();
    for (;;) {
      let trouble: DmtpError | null = null;
      try {
        const result = await this.step();
        if (result !== null) return result;
      } catch (error) {
        if (!isPassing(error)) throw error;
        this.failures += 1;
        if (this.failures > MAX_FAILURES_AT_FIRST && this.log.attempts().length === 0) throw error;
        trouble = error;
      }
      if (this.options.signal?.aborted === true) throw this.pending("was left to the next run");
      if (this.options.elapsedMs() - startedAtMs >= this.options.timeoutMs) {
        throw trouble ?? this.pending(`is not mined after ${Math.round(this.options.timeoutMs / 1_000)} s`);
      }
      await this.options.pause(this.pausedMs, this.options.signal);
      this.pausedMs = Math.min(MAX_PAUSE_MS, this.pausedMs * 2);
    }
  }

  /** Looks at the chain once, and does what is due. Null: it has to wait. */
  private async step(): Promise<Submitted | null> {
    const height = await this.height();
    const used = await this.nonceAt(height);
    const attempts = this.log.attempts().filter(({ account }) => account === this.account.address);
    const mined = await this.findMined(attempts);
    if (mined !== null) return { status: "mined", mined };

    const last = attempts.at(-1);
    if (last !== undefined && last.nonce < used && ++this.usedPolls < POLLS_WITHOUT_RECEIPT) return null;
    if (last !== undefined && last.nonce < used && this.nonce !== null) return { status: "overtaken" };
    // Of an earlier run, and its nonce is gone: whatever took it, the caller has read the chain since.
    const open = last !== undefined && last.nonce >= used ? last : undefined;
    if (open === undefined && (await this.isForeignWaiting(used, height))) return null;
    if (open !== undefined && (await this.isCutOff(open, used, height))) {
      this.nonce = used;
      return this.attempt(height, null);
    }
    this.nonce ??= open?.nonce ?? used;
    // Signed under other caps: whoever has it may mine it, and nobody gets it from here again.
    if (open !== undefined && !isWithin(open.fees, open.gasLimit, this.options.limits))
      return this.attempt(height, null);
    const isDue = open === undefined || height - open.submittedAtBlock >= REPLACE_AFTER_BLOCKS;
    const sent = this.log.attempts().length;
    const result = isDue ? await this.attempt(height, open ?? null) : null;
    if (result !== null || open === undefined || this.log.attempts().length > sent) return result;
    // A node may have been restarted, and have lost it.
    const isLost = this.broadcastAtBlock < 0 || height - this.broadcastAtBlock >= REBROADCAST_AFTER_BLOCKS;
    if (isLost) return this.broadcast(open, height, false);
    this.options.onProgress?.(`waiting for ${open.hash ?? "the transaction"} to be mined, block ${height}`);
    return null;
  }

  /**
   * Whether a transaction of this account that this mailbox knows nothing of has the next nonce, and still has its time: another
   * machine's, or one from before a backup was restored. One that stays as long as ours would is replaced like ours.
   */
  private async isForeignWaiting(used: number, height: number): Promise<boolean> {
    if (this.log.offered(this.account.address, used) !== null) return false;
    const params = [this.account.address, "pending"];
    if (parseQuantity(await this.rpc.request({ method: "eth_getTransactionCount", params })) <= used) return false;
    if (this.foreignSinceBlock < 0) this.foreignSinceBlock = height;
    this.options.onProgress?.(`another transaction of ${checksummed(this.account.address)} waits at nonce ${used}`);
    return height - this.foreignSinceBlock < REPLACE_AFTER_BLOCKS;
  }

  /** Whether an earlier nonce is free again, and no transaction waits at it: a reorg took away one that is nobody's now. */
  private async isCutOff(open: Attempt, used: number, height: number): Promise<boolean> {
    const params = [this.account.address, "pending"];
    if (
      open.nonce <= used ||
      parseQuantity(await this.rpc.request({ method: "eth_getTransactionCount", params })) > used
    ) {
      this.cutOffSinceBlock = -1;
      return false;
    }
    if (this.cutOffSinceBlock < 0) this.cutOffSinceBlock = height;
    return height - this.cutOffSinceBlock >= REPLACE_AFTER_BLOCKS;
  }

  /** Makes a new transaction, with the fees of the moment or an eighth more than `replaced` offered, and hands it over. */
  private async attempt(height: number, replaced: Attempt | null): Promise<Submitted | null> {
    const nonce = this.nonce ?? 0;
    const gasLimit = replaced?.gasLimit ?? (await estimateGas(this.rpc, this.account.address, this.call));
    if (gasLimit === "overtaken") return { status: "overtaken" };
    const market = await readFeeMarket(this.rpc, this.call.chainId);
    const offered = this.log.offered(this.account.address, nonce);
    const { limits } = this.options;
    // What was offered with this nonce, and can't be outbid within the caps, may wait at no node any more: the node says whether.
    const fees =
      feesWithin(market, limits, gasLimit, offered ?? undefined) ??
      (replaced === null ? feesWithin(market, limits, gasLimit) : null);
    if (fees === null) {
      const what = tooHigh(market, limits, gasLimit);
      if (replaced === null) throw new DmtpError("FEE_TOO_HIGH", what);
      this.say(`${what}: the transaction waits as it is`);
      return null;
    }
    const balance = parseBigQuantity(
      await this.rpc.request({ method: "eth_getBalance", params: [this.account.address, "latest"] }),
    );
    if (balance < fees.maxFeePerGas * gasLimit) {
      const what = `${checksummed(this.account.address)} has ${formatPol(balance)} POL, this may take ${formatPol(fees.maxFeePerGas * gasLimit)} POL`;
      if (replaced === null) throw new DmtpError("FUNDS_INSUFFICIENT", what);
      this.say(`${what}: the transaction waits`);
      return null;
    }
    const fields = { ...this.call, nonce, gasLimit, fees };
    const attempt: Attempt = {
      ...this.account.prepare(fields),
      account: this.account.address,
      nonce,
      fees,
      gasLimit,
      submittedAtBlock: height,
    };
    // A crash after this line leaves a transaction that no node has; the next run hands it over.
    this.log.record(attempt);
    return this.broadcast(attempt, height, true);
  }

  private async broadcast(attempt: Attempt, height: number, isNew: boolean): Promise<Submitted | null> {
    this.broadcastAtBlock = height;
    this.options.onProgress?.(`handing ${attempt.hash ?? "the transaction"} to the node`);
    let refusal: Refusal | null = null;
    let hash: Hex | null = null;
    try {
      hash = await this.account.broadcast(this.rpc, { ...this.call, ...attempt }, attempt);
    } catch (error) {
      // A hash that is not the transaction's is as good as no answer.
      if (!isPassing(error)) throw error;
      refusal = refusalOf(error) ?? "unsure";
      if (refusal === "refused" || refusal === "poor") {
        // A node that mines at once answers with the revert of what it has mined.
        const mined = await this.findMined([attempt]);
        if (mined !== null) return { status: "mined", mined };
        const what = `the node refused the transaction: ${(faultOf(error)?.message ?? "").slice(0, 300)}`;
        const code = refusal === "poor" ? "FUNDS_INSUFFICIENT" : "TRANSACTION_FAILED";
        // One that was handed over before may still wait at another node.
        const sameNonce = this.log.attempts().filter(({ nonce }) => nonce === attempt.nonce);
        if (!isNew || sameNonce.length > 1) this.say(what);
        else throw new DmtpError(code, what, { cause: error });
      }
    }
    // Not within the above: a disk that does not take the hash is no answer of the node.
    if (hash !== null && attempt.hash === null) this.log.setHash(hash);
    if (refusal === "unsure" || refusal === "nonce ahead") this.broadcastAtBlock = -1;
    // Another transaction has the nonce, or blocks cost more than a moment ago: the next one offers more.
    if (refusal === "outbid" || refusal === "underpriced") return this.attempt(height, attempt);
    return null;
  }

  /** A revert that an earlier run has reported is no answer to this one: its nonce is gone, and the call is made again. */
  private async findMined(attempts: readonly Attempt[]): Promise<MinedTransaction | null> {
    const hashes = attempts.map(({ hash }) => hash).filter((hash) => hash !== null);
    if (hashes.length === 0) return null;
    const calls = hashes.map((hash) => ({ method: "eth_getTransactionReceipt", params: [hash] }));
    const found = (await this.rpc.batch(calls)).map(parseReceipt).filter((receipt) => receipt !== null);
    const ofThisRun = new Set(attempts.filter(({ nonce }) => nonce === this.nonce).map(({ hash }) => hash));
    return found.find(({ isReverted }) => !isReverted) ?? found.find(({ hash }) => ofThisRun.has(hash)) ?? null;
  }

  private async height(): Promise<number> {
    const block = parseBlock(await this.rpc.request({ method: "eth_getBlockByNumber", params: ["latest", false] }));
    if (block === null) throw new DmtpError("CHAIN_DISAGREES", `${this.rpc.name} has no newest block`);
    return block.number;
  }

  private async nonceAt(height: number): Promise<number> {
    const params = [this.account.address, quantityOf(height)];
    return parseQuantity(await this.rpc.request({ method: "eth_getTransactionCount", params }));
  }

  private say(text: string): void {
    if (text !== this.saidWhy) this.options.onNote?.(text);
    this.saidWhy = text;
  }

  private pending(what: string): DmtpError {
    const hash = this.log.attempts().at(-1)?.hash;
    const which = hash === undefined ? "another transaction of this account" : `transaction ${hash ?? "of the node"}`;
    return new DmtpError("TRANSACTION_PENDING", `${which} ${what}`);
  }
}

function tooHigh(market: FeeMarket, limits: FeeLimits, gasLimit: bigint): string {
  if (feesWithin(market, limits, gasLimit) !== null)
    return "the caps do not allow to outbid what was offered with this nonce";
  const lowest = market.baseFeePerGas + market.tipFloor;
  const price = `${formatGwei(lowest)} gwei for each unit of gas now, ${formatPol(lowest * gasLimit)} POL in all`;
  return `the chain takes at least ${price}, which the caps do not allow`;
}

/** What a node, or the way to it, may be over with a moment later. */
export function isPassing(error: unknown): error is DmtpError {
  return error instanceof DmtpError && ["CHAIN_UNREACHABLE", "CHAIN_DISAGREES"].includes(error.code);
}
