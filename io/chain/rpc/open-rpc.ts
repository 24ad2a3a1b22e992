import { httpRpc } from "./http-rpc.ts";
import type { Rpc } from "./rpc.ts";
import { socketRpc } from "./socket-rpc.ts";

/** An endpoint by its URL: http, https, ws or wss. @throws CONFIGURATION_INVALID */
export function openRpc(url: string): Rpc {
  return /^wss?:/i.test(url) ? socketRpc(url) : httpRpc(url);
}
