/** Every way in which a call to a node fails, in words that give no key away. */
import { DmtpError } from "../../../protocol/error.ts";

/** How a call failed: `answer` is an error that the node gave, the others never got that far. */
export interface RpcFault {
  readonly fault: "answer" | "status" | "timeout" | "network";
  /** The JSON-RPC error code, or the HTTP status. */
  readonly code: number;
  readonly message: string;
  /** What a revert returned. */
  readonly data: string | undefined;
  /** How long the node wants to be left alone. */
  readonly retryAfterMs?: number | undefined;
}

/** What stands behind a CHAIN_UNREACHABLE; null for any other error. */
export function faultOf(error: unknown): RpcFault | null {
  if (!(error instanceof DmtpError) || error.code !== "CHAIN_UNREACHABLE") return null;
  const { cause } = error;
  return typeof cause === "object" && cause !== null && "fault" in cause ? (cause as RpcFault) : null;
}

/** The most characters that are kept of what a node says. */
const MAX_MESSAGE_CHARACTERS = 1_000;

export function unreachable(name: string, fault: RpcFault): DmtpError {
  const message = fault.message.slice(0, MAX_MESSAGE_CHARACTERS);
  return new DmtpError("CHAIN_UNREACHABLE", `${name}: ${message}`, { cause: { ...fault, message } });
}

/** A text with every URL cut down to its origin: paths, queries and user names may hold an API key. */
export function withoutUrls(text: string): string {
  return text.replace(/\b(?:https?|wss?):\/\/[^\s"'<>)\]}]+/g, (url) =>
    URL.canParse(url) ? originOf(new URL(url)) : "(a URL)",
  );
}

/** Scheme and host: all that is ever shown of a URL. */
export function originOf(url: URL): string {
  return `${url.protocol}//${url.host}`;
}

/** Nodes put the returned bytes of a revert in `data`, or one level deeper. */
export function revertData(data: unknown): string | undefined {
  if (typeof data === "string") return /^0x[0-9a-fA-F]*$/.test(data) ? data : undefined;
  return typeof data === "object" && data !== null && "data" in data ? revertData(data.data) : undefined;
}
