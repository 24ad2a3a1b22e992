/** JSON-RPC through an EIP-1193 provider. */
import { revertData, unreachable, withoutUrls, type RpcFault } from "./rpc-fault.ts";
import type { Rpc, RpcCall } from "./rpc.ts";

/** An EIP-1193 provider, such as Hardhat's `connection.provider`, as an Rpc. */
export function providerRpc(
  provider: { request(args: { method: string; params?: unknown[] }): Promise<unknown> },
  name: string,
): Rpc {
  const request = async ({ method, params }: RpcCall): Promise<unknown> => {
    try {
      return await provider.request({ method, params: [...params] });
    } catch (error) {
      throw unreachable(name, faultOfProvider(error));
    }
  };
  return { name, request, batch: (calls) => Promise.all(calls.map(request)) };
}

function faultOfProvider(error: unknown): RpcFault {
  const { code, message, data } = (typeof error === "object" && error !== null ? error : {}) as Record<string, unknown>;
  const said = withoutUrls(typeof message === "string" ? message : "the provider failed");
  // EIP-1193 errors have a number; what has none is a connection that failed.
  if (typeof code !== "number") return { fault: "network", code: 0, message: said, data: undefined };
  return { fault: "answer", code, message: said, data: revertData(data) };
}
