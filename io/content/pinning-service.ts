/** An IPFS Pinning Service (https://ipfs.github.io/pinning-services-api-spec/): it fetches what it is asked to pin by itself. */
import { z } from "zod";

import { computeBackoffMs } from "../../protocol/backoff.ts";
import { utf8 } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import { pause as wait } from "../pause.ts";
import { BoundedHttp, readAll, type HttpAnswer } from "./bounded-http.ts";

export interface PinningOptions {
  readonly token?: string | undefined;
  /** What a person may do when it cannot be asked. */
  readonly hint?: string;
  readonly pause?: (ms: number) => Promise<void>;
  /** How often it is asked whether it is done, at growing intervals. */
  readonly polls?: number;
}

const LIMITS = { sizeBytes: 1024 * 1024, silenceMs: 30_000, bodyMs: 10_000 };
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 15_000;
/** Asked too much: nothing was taken. Behind the others, which a proxy answers with, a request may have been taken. */
const BUSY = new Set([429, 503]);
const AWAY = new Set([502, 504]);
const MAX_TRIES = 5;
const MAX_RETRY_AFTER_MS = 60_000;
const pinStatus = z.object({
  requestid: z.string().min(1).max(1_024),
  status: z.enum(["queued", "pinning", "pinned", "failed"]),
  pin: z.object({ cid: z.string() }),
});
const pinList = z.object({ results: z.array(pinStatus) });

type PinStatus = z.infer<typeof pinStatus>;

export class PinningService {
  /** Fit to be shown and logged. */
  readonly name: string;
  private readonly url: URL;
  private readonly http: BoundedHttp;
  private readonly token: string | undefined;
  private readonly pause: (ms: number) => Promise<void>;
  private readonly polls: number;

  /** @param url of the endpoint, before `/pins` */
  constructor(url: URL, { token, hint, pause = wait, polls = 20 }: PinningOptions = {}) {
    this.url = url;
    this.name = `pinning service ${url.host}`;
    this.http = new BoundedHttp(url, { hint });
    this.token = token;
    this.pause = pause;
    this.polls = polls;
  }

  /**
   * Asks for a recursive pin, once however often it is called, and waits for it.
   * @returns whether it is pinned; false while the service has not found everything
   * @throws CONTENT_UNREACHABLE, CONTENT_WRITE_FAILED when the service refuses
   */
  async pin(cid: Cid, name: string): Promise<boolean> {
    // A run that ended early has asked already.
    const { results } = await this.call("GET", `pins?cid=${cid}&status=queued,pinning,pinned`, pinList);
    let status: PinStatus =
      results.find(({ pin }) => pin.cid === cid) ?? (await this.call("POST", "pins", pinStatus, { cid, name }));
    for (let poll = 0; poll < this.polls; poll++) {
      if (status.pin.cid !== cid) throw this.failure("it answers for another CID");
      if (status.status === "pinned") return true;
      if (status.status === "failed") throw this.failure(`it could not pin ${cid}`);
      await this.pause(computeBackoffMs(poll + 1, FIRST_PAUSE_MS, MAX_PAUSE_MS));
      status = await this.call("GET", `pins/${encodeURIComponent(status.requestid)}`, pinStatus);
    }
    return status.status === "pinned";
  }

  close(): Promise<void> {
    this.http.close();
    return Promise.resolve();
  }

  /** What a service did not take, because it was asked too much or is away for a moment, it is asked again. */
  private async call<T>(method: "GET" | "POST", path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
    for (let tries = 1; ; tries++) {
      const answer = await this.request(method, path, body);
      const text = new TextDecoder().decode(await readAll(answer));
      const mayPass = BUSY.has(answer.status) || (method === "GET" && AWAY.has(answer.status));
      if (mayPass && tries < MAX_TRIES) {
        const backoffMs = computeBackoffMs(tries, FIRST_PAUSE_MS, MAX_PAUSE_MS);
        await this.pause(Math.max(backoffMs, Math.min(answer.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS)));
        continue;
      }
      // What it says of an error may repeat the token, and is not shown.
      if (answer.status < 200 || answer.status > 299) throw this.failure(`HTTP status ${answer.status}`);
      const parsed = schema.safeParse(parseJson(text));
      if (!parsed.success) throw this.failure("its answer is none of the Pinning Service API");
      return parsed.data;
    }
  }

  private request(method: "GET" | "POST", path: string, body: object | undefined): Promise<HttpAnswer> {
    return this.http.request({
      url: new URL(`${this.url.href.replace(/\/$/, "")}/${path}`),
      method,
      headers: {
        accept: "application/json",
        "content-type": "application/json",
        ...(this.token !== undefined && { authorization: `Bearer ${this.token}` }),
      },
      ...(body !== undefined && { body: [utf8(JSON.stringify(body))] }),
      limits: LIMITS,
    });
  }

  private failure(what: string): DmtpError {
    return new DmtpError("CONTENT_WRITE_FAILED", `${this.name}: ${what}`, {
      hint: "Check the URL, PINNING_TOKEN and that the service can reach a node with the content; then repeat the command.",
    });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
