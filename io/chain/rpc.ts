/** JSON-RPC, raw: what goes over the wire to a chain. */
import { HttpRpc, type HttpRpcOptions } from "./http-rpc.ts";
import { revertData, unreachable, withoutUrls, type RpcFault } from "./rpc-fault.ts";

export interface RpcCall {
  readonly method: string;
  readonly params: readonly unknown[];
}

export interface Rpc {
  /** Where it leads, without credentials: fit to be shown and logged. */
  readonly name: string;
  /** @throws CHAIN_UNREACHABLE with an {@link RpcFault} as its cause */
  request(call: RpcCall): Promise<unknown>;
  /** The answers in the order of the calls; one failure fails all. */
  batch(calls: readonly RpcCall[]): Promise<unknown[]>;
}

/**
 * An endpoint by its URL; a user name and password in it are sent as basic authentication.
 * @throws CONFIGURATION_INVALID
 */
export function httpRpc(url: string, options: HttpRpcOptions = {}): Rpc {
  return new HttpRpc(url, options);
}

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
