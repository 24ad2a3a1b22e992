/** JSON-RPC, raw: what goes over the wire to a chain. */

export interface RpcCall {
  readonly method: string;
  readonly params: readonly unknown[];
}

export interface Rpc {
  /** Where it leads, without credentials: fit to be shown and logged. */
  readonly name: string;
  /** @throws CHAIN_UNREACHABLE with a fault of rpc-fault.ts as its cause */
  request(call: RpcCall): Promise<unknown>;
  /** The answers in the order of the calls; one failure fails all. */
  batch(calls: readonly RpcCall[]): Promise<unknown[]>;
}
