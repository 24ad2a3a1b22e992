/** Several nodes as one that is believed only as far as they all say the same. */
import { toHex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { Rpc, RpcCall } from "../rpc/rpc.ts";

/**
 * Asks every node the same and parses each one's answers.
 * @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES
 */
export async function askAll<T>(
  rpcs: readonly Rpc[],
  calls: readonly RpcCall[],
  parse: (results: readonly unknown[]) => T,
): Promise<T> {
  const [first, ...others] = calls;
  return agree(rpcs, first?.method ?? "nothing", async (rpc) => {
    if (first === undefined) return parse([]);
    return parse(others.length === 0 ? [await rpc.request(first)] : await rpc.batch(calls));
  });
}

/** Reads the same from every node by `read`. @throws CHAIN_DISAGREES and what `read` throws */
export async function agree<T>(
  rpcs: readonly Rpc[],
  what: string,
  read: (rpc: Rpc, index: number) => Promise<T>,
): Promise<T> {
  const [first, ...others] = await Promise.all(rpcs.map(read));
  const expected = others.length === 0 ? "" : textOf(first);
  others.forEach((other, i) => {
    if (textOf(other) === expected) return;
    throw new DmtpError("CHAIN_DISAGREES", `${rpcs[0]?.name ?? ""} and ${rpcs[i + 1]?.name ?? ""} differ on ${what}`);
  });
  return first as T;
}

function textOf(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => {
    if (typeof member === "bigint") return String(member);
    return member instanceof Uint8Array ? toHex(member) : member;
  });
}
