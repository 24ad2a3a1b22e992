/** A trustless HTTP gateway (https://specs.ipfs.tech/http-gateways/trustless-gateway/): raw blocks that are believed when they hash. */
import { MAX_BLOCK_BYTES } from "../../protocol/cbor.ts";
import { verifyBlock, type Cid } from "../../protocol/cid.ts";
import type { Resolve } from "./address-guard.ts";
import { BoundedHttp, readAll, type HttpLimits } from "./bounded-http.ts";
import { SOURCES_HINT, sourceFault, type SourceLabel } from "./source-fault.ts";
import type { ContentSource } from "./store.ts";

export interface GatewayOptions {
  readonly limits?: Partial<Pick<HttpLimits, "silenceMs" | "bodyMs">>;
  readonly resolve?: Resolve;
}

const RAW = "application/vnd.ipld.raw";
/** It has none, will not give it, or did not find it in the time that it takes. */
const ABSENT = new Set([400, 404, 408, 410, 412, 451, 504]);
const BUSY = new Set([429, 503]);

export class GatewaySource implements ContentSource {
  readonly name: string;
  readonly isLocal = false;
  private readonly url: URL;
  private readonly label: SourceLabel;
  private readonly http: BoundedHttp;
  private readonly limits: Pick<HttpLimits, "silenceMs" | "bodyMs">;

  /** @param url before `/ipfs/…`; its query, a token say, is sent with every request, and so are user name and password */
  constructor(url: URL, { limits = {}, resolve }: GatewayOptions = {}) {
    this.url = url;
    this.name = `gateway ${url.host}`;
    this.label = { name: this.name, hint: SOURCES_HINT };
    this.http = new BoundedHttp(url, { resolve, hint: SOURCES_HINT });
    this.limits = { silenceMs: 30_000, bodyMs: 10_000, ...limits };
  }

  async fetch(cid: Cid, signal?: AbortSignal, maxBytes = MAX_BLOCK_BYTES): Promise<Uint8Array | null> {
    const url = new URL(this.url);
    url.pathname = `${url.pathname.replace(/\/$/, "")}/ipfs/${cid}`;
    url.searchParams.set("format", "raw");
    const answer = await this.http.request({
      url,
      method: "GET",
      headers: { accept: RAW },
      limits: { ...this.limits, sizeBytes: maxBytes },
      signal,
    });
    const { status, contentType, retryAfterMs } = answer;
    if (status !== 200) {
      // The connection is used again when the rest is not long; what it says is of no use.
      await readAll(answer).catch(() => undefined);
      if (ABSENT.has(status)) return null;
      const fault = BUSY.has(status) ? "busy" : "refused";
      throw sourceFault(this.label, fault, `HTTP status ${status}`, undefined, retryAfterMs);
    }
    const bytes = await readAll(answer);
    try {
      return verifyBlock(cid, bytes);
    } catch (error) {
      // Its type says nothing of the bytes, and something of why they are wrong: a web page, say.
      if (contentType === RAW) throw error;
      const type = contentType.slice(0, 40) || "no type";
      throw sourceFault(this.label, "wrong", `it answers with ${type}, not with ${RAW}`, error);
    }
  }

  close(): Promise<void> {
    this.http.close();
    return Promise.resolve();
  }
}
