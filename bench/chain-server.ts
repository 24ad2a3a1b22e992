/** A JSON-RPC node on a thread of its own, whose answers are ready before they are asked for: what is measured is the reader. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import { cidStoreInterface, keyRegistryInterface } from "../io/chain/contracts.ts";
import { toHex, utf8 } from "../protocol/bytes.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import { DEPLOYMENT } from "./conversation.ts";

export interface ChainShape {
  readonly blocks: number;
  readonly eventsPerBlock: number;
}

export interface ChainServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** A chain whose every block has as many anchors. */
export async function startChainServer(shape: ChainShape): Promise<ChainServer> {
  const worker = new Worker(new URL(import.meta.url), { workerData: shape });
  const url = await new Promise<string>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  return {
    url,
    stop: async () => {
      await worker.terminate();
    },
  };
}

interface Call {
  readonly id: number;
  readonly method: string;
  readonly params: readonly unknown[];
}

function serve({ blocks, eventsPerBlock }: ChainShape): void {
  const hashes = Array.from({ length: blocks + 1 }, (_, number) => toHex(primitives.sha256(utf8(`block ${number}`))));
  const headers = hashes.map((hash, number) =>
    JSON.stringify({
      number: quantity(number),
      hash,
      parentHash: hashes[number - 1] ?? `0x${"0".repeat(64)}`,
      timestamp: quantity(1_700_000_000 + 2 * number),
      // As long as a real one.
      logsBloom: `0x${"0".repeat(512)}`,
      transactions: [],
    }),
  );
  const logs = hashes.map((blockHash, number) => {
    if (number === 0) return "";
    return Array.from({ length: eventsPerBlock }, (_, i) => {
      const index = (number - 1) * eventsPerBlock + i;
      return JSON.stringify({
        address: DEPLOYMENT.cidStore,
        ...cidStoreInterface.encodeEventLog("CIDAnchored", [index, toHex(primitives.sha256(utf8(`anchor ${index}`)))]),
        blockNumber: quantity(number),
        blockHash,
        transactionHash: blockHash,
        transactionIndex: "0x0",
        logIndex: quantity(i),
        removed: false,
      });
    }).join(",");
  });
  const view = (to: string, data: string, block: number): string => {
    const isStore = to === DEPLOYMENT.cidStore;
    const contract = isStore ? cidStoreInterface : keyRegistryInterface;
    const name = contract.getFunction(data.slice(0, 10))?.name ?? "";
    const zero = `0x${"0".repeat(64)}`;
    const answers: Record<string, readonly unknown[]> = {
      count: [isStore ? block * eventsPerBlock : 0],
      deployedAtBlock: [1],
      anchorer: [`0x${"0".repeat(40)}`],
      head: [zero],
      eip712Domain: ["0x0f", "DMTP KeyRegistry", "1", DEPLOYMENT.chainId, to, zero, []],
    };
    return contract.encodeFunctionResult(name, answers[name] ?? []);
  };
  const numberOf = (tag: unknown): number => {
    return tag === "latest" ? blocks : tag === "finalized" ? Math.max(0, blocks - 64) : Number(tag);
  };
  const resultOf = ({ method, params }: Call): string => {
    if (method === "eth_getLogs") {
      const { fromBlock, toBlock } = params[0] as { fromBlock: string; toBlock: string };
      return `[${logs
        .slice(Number(fromBlock), Number(toBlock) + 1)
        .filter((part) => part !== "")
        .join(",")}]`;
    }
    if (method === "eth_getBlockByNumber") return headers[numberOf(params[0])] ?? "null";
    if (method === "eth_chainId") return JSON.stringify(quantity(DEPLOYMENT.chainId));
    if (method === "eth_getCode") return '"0x6001"';
    const [{ to, data }, tag] = params as [{ to: string; data: string }, string];
    return JSON.stringify(view(to, data, numberOf(tag)));
  };
  const answer = (call: Call): string => `{"jsonrpc":"2.0","id":${call.id},"result":${resultOf(call)}}`;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Call | Call[];
      const text = Array.isArray(body) ? `[${body.map(answer).join(",")}]` : answer(body);
      response.writeHead(200, { "content-type": "application/json" }).end(text);
    });
  });
  server.listen(0, "127.0.0.1", () => {
    parentPort?.postMessage(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
}

function quantity(value: number): string {
  return `0x${value.toString(16)}`;
}

if (!isMainThread) serve(workerData as ChainShape);
