/**
 * Which addresses a content source may be reached at. What an operator configured is trusted to be where it says; where it sends
 * us on to, and what its name becomes later, is not: a gateway must not be able to make this machine ask its own services.
 */
import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";

import { sourceFault, type SourceLabel } from "./source-fault.ts";

/** `local` is this machine, its link, or no unicast address at all; `private` a network that is not the internet. */
type Reach = "local" | "private" | "public";

/** All addresses of a name. */
export type Resolve = (host: string) => Promise<readonly string[]>;

const LOCAL = blockList([
  ["0.0.0.0", 8, "ipv4"],
  ["127.0.0.0", 8, "ipv4"],
  ["169.254.0.0", 16, "ipv4"],
  ["224.0.0.0", 3, "ipv4"],
  ["::", 127, "ipv6"],
  ["fe80::", 10, "ipv6"],
  ["ff00::", 8, "ipv6"],
]);
const PRIVATE = blockList([
  ["10.0.0.0", 8, "ipv4"],
  ["100.64.0.0", 10, "ipv4"],
  ["172.16.0.0", 12, "ipv4"],
  ["192.0.0.0", 24, "ipv4"],
  ["192.168.0.0", 16, "ipv4"],
  ["198.18.0.0", 15, "ipv4"],
  // IETF protocol assignments, Teredo among them, and 6to4: an address of these can hold an IPv4 address of any reach.
  ["2001::", 23, "ipv6"],
  ["2002::", 16, "ipv6"],
]);
/** Global unicast (RFC 4291, 2.4). What lies outside is no address of the internet: NAT64 and IPv4 in an IPv6 address, say. */
const GLOBAL = blockList([["2000::", 3, "ipv6"]]);
const MAPPED = blockList([["::ffff:0:0", 96, "ipv6"]]);
/** Where a gateway on this machine sends a browser on to: each root has a name of its own there. */
const GATEWAY_NAME = /^[a-z0-9]+\.ipfs\.localhost$/;

export class AddressGuard {
  private readonly configured: URL;
  private readonly resolve: Resolve;
  private readonly label: SourceLabel;
  /** Whether the configured name was once in the internet: then it stays there. */
  private wasPublic = false;

  constructor(configured: URL, resolve: Resolve = resolveName, label: SourceLabel = { name: configured.host }) {
    this.configured = configured;
    this.label = label;
    this.resolve = resolve;
  }

  /**
   * The addresses that may be connected to for this URL. Who connects uses these, and does not resolve the name again.
   * @throws a source fault `redirected` or `unreachable`
   */
  async addressesOf(url: URL): Promise<readonly string[]> {
    const host = hostOf(url);
    // Such a name is this machine by RFC 6761, whether or not the resolver knows it.
    if (GATEWAY_NAME.test(host) && this.isOwnGateway(url)) return this.addressesOf(this.configured);
    const isConfigured = url.host === this.configured.host && url.protocol === this.configured.protocol;
    if (isIP(host) !== 0) {
      if (!isConfigured && reachOf(host) !== "public") throw this.refuse(host);
      return [host];
    }
    const addresses = await this.resolve(host).catch((cause: unknown) => {
      throw sourceFault(this.label, "unreachable", `the name ${host} does not resolve`, cause);
    });
    if (addresses.length === 0) throw sourceFault(this.label, "unreachable", `${host} has no address`);
    const reaches = new Set(addresses.map(reachOf));
    if (isConfigured && isLocalhost(host)) {
      if (addresses.some((address) => reachOf(address) !== "local")) throw this.refuse(host);
      return addresses;
    }
    if (reaches.has("local")) throw this.refuse(host);
    if (reaches.has("private") && (!isConfigured || this.wasPublic)) throw this.refuse(host);
    if (isConfigured && !reaches.has("private")) this.wasPublic = true;
    return addresses;
  }

  /** Whether the configured source is on this machine, and the URL leads to the same port of it. */
  private isOwnGateway({ protocol, port }: URL): boolean {
    const { configured } = this;
    const host = hostOf(configured);
    const isHere = isLocalhost(host) || (isIP(host) !== 0 && reachOf(host) === "local");
    return isHere && protocol === configured.protocol && port === configured.port;
  }

  private refuse(host: string): Error {
    return sourceFault(this.label, "redirected", `it leads to ${host}, an address that is not public`);
  }
}

export function reachOf(address: string): Reach {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return reachOf(mapped);
  const family = isIP(address) === 6 ? "ipv6" : "ipv4";
  if (LOCAL.check(address, family)) return "local";
  if (PRIVATE.check(address, family)) return "private";
  return family === "ipv4" || GLOBAL.check(address, family) || MAPPED.check(address, family) ? "public" : "private";
}

/** Without the brackets of an IPv6 address, and without the dot that ends a full name. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
}

function isLocalhost(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost");
}

async function resolveName(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function blockList(subnets: readonly (readonly [string, number, "ipv4" | "ipv6"])[]): BlockList {
  const list = new BlockList();
  for (const [net, prefix, family] of subnets) list.addSubnet(net, prefix, family);
  return list;
}
