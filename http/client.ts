/** Who asks, as limits count: an IPv4 address, or the /64 of an IPv6 address, which one customer has to itself. */
import { isIPv6 } from "node:net";

import type { Request } from "express";

/**
 * @param trustedProxies proxies of the operator in front, each of which adds the address that it was asked from to X-Forwarded-For. What
 *   lies before their entries is the client's own word and does not count.
 */
export function findClient(request: Pick<Request, "headers" | "socket">, trustedProxies: number): string {
  const direct = request.socket.remoteAddress ?? "";
  if (trustedProxies === 0) return groupAddress(direct);
  const header = request.headers["x-forwarded-for"] ?? "";
  const forwarded = (Array.isArray(header) ? header.join(",") : header)
    .split(",")
    .map((address) => address.trim())
    .filter((address) => address !== "");
  return groupAddress(forwarded.at(-trustedProxies) ?? direct);
}

/** `2001:db8:0:1::/64` for each address in it; an IPv4 address in the form of IPv6 is the IPv4 address. */
export function groupAddress(address: string): string {
  const [plain = ""] = address.split("%");
  const mapped = /^::ffff:([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)$/i.exec(plain);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (!isIPv6(plain)) return plain;
  // A URL writes an IPv6 address in its shortest form.
  const [head = "", tail] = new URL(`http://[${plain}]`).hostname.slice(1, -1).split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return `${[...before, ...zeros, ...after].slice(0, 4).join(":")}::/64`;
}
