import { createServer, type Server } from "node:http";
import { json } from "node:stream/consumers";

import { expect } from "chai";

import { PinningService } from "../../io/content/pinning-service.ts";
import { cidOf } from "../../protocol/cid.ts";
import { listen, shut } from "../fixtures/loopback.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const cid = cidOf(fixedBytes("a manifest"));

/** What the specification asks of a service, as far as it is used; each pin is done after some looks at it. */
class FakeService {
  readonly pins: { requestid: string; status: string; pin: { cid: string; name?: string } }[] = [];
  readonly tokens: (string | undefined)[] = [];
  looksUntilDone = 2;
  outcome = "pinned";
  answer: { readonly status: number; readonly body: string } | null = null;
  /** How many requests of a method it refuses, and how. */
  readonly refusals = { method: "POST", status: 429, retryAfterS: 3, left: 0 };
  private readonly server: Server = createServer((request, response) => {
    void (async () => {
      this.tokens.push(request.headers.authorization);
      const url = new URL(request.url ?? "", "http://service");
      const give = (status: number, body: unknown): void =>
        void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      const { method, status, retryAfterS } = this.refusals;
      if (request.method === method && this.refusals.left > 0) {
        this.refusals.left -= 1;
        response.writeHead(status, { "retry-after": String(retryAfterS) }).end();
      } else if (this.answer !== null) {
        response.writeHead(this.answer.status).end(this.answer.body);
      } else if (request.method === "POST" && url.pathname === "/psa/pins") {
        const pin = (await json(request)) as { cid: string; name: string };
        this.pins.push({ requestid: `request/${this.pins.length}`, status: "queued", pin });
        give(202, this.pins.at(-1));
      } else if (url.pathname === "/psa/pins") {
        const results = this.pins.filter((each) => each.pin.cid === url.searchParams.get("cid"));
        give(200, { count: results.length, results });
      } else {
        const id = decodeURIComponent(url.pathname.slice("/psa/pins/".length));
        const found = this.pins.find(({ requestid }) => requestid === id);
        if (found !== undefined && --this.looksUntilDone <= 0) found.status = this.outcome;
        give(found === undefined ? 404 : 200, found ?? { error: { reason: "NOT_FOUND" } });
      }
    })();
  });

  async start(): Promise<URL> {
    return new URL("/psa", await listen(this.server));
  }

  stop(): Promise<void> {
    return shut(this.server);
  }
}

describe("A pinning service", () => {
  let fake: FakeService;
  let service: PinningService;
  const pauses: number[] = [];

  beforeEach(async () => {
    fake = new FakeService();
    pauses.length = 0;
    const pause = (ms: number): Promise<void> => {
      pauses.push(ms);
      return Promise.resolve();
    };
    service = new PinningService(await fake.start(), { token: "t0ken", pause, polls: 4 });
  });
  afterEach(async () => {
    await service.close();
    await fake.stop();
  });

  it("is asked once for a pin, and waited for", async () => {
    expect(await service.pin(cid, "anchor 0")).to.equal(true);
    expect(fake.pins.map(({ pin }) => pin)).to.deep.equal([{ cid, name: "anchor 0" }]);
    expect(new Set(fake.tokens)).to.deep.equal(new Set(["Bearer t0ken"]));
    expect(pauses).to.deep.equal([500, 1_000]);
  });

  it("is not asked again for what was asked for before, whether it is done or not", async () => {
    fake.looksUntilDone = 100;
    expect(await service.pin(cid, "anchor 0")).to.equal(false);
    fake.looksUntilDone = 1;
    expect(await service.pin(cid, "anchor 0")).to.equal(true);
    expect(await service.pin(cid, "anchor 0")).to.equal(true);
    expect(fake.pins.length).to.equal(1);
  });

  it("fails by code when it could not pin, and when it refuses, without the token", async () => {
    fake.outcome = "failed";
    expect(await codeOfAsync(() => service.pin(cid, "anchor 0"))).to.equal("CONTENT_WRITE_FAILED");
    fake.answer = { status: 401, body: "the token t0ken is not known" };
    const error = await service.pin(cid, "anchor 0").catch((reason: unknown) => reason as Error);
    expect((error as Error).message)
      .to.include("401")
      .and.not.include("t0ken");
  });

  for (const [method, status] of [
    ["POST", 429],
    ["POST", 503],
    ["GET", 502],
  ] as const) {
    it(`is asked again, after the time that it names, when it answers a ${method} with ${status}`, async () => {
      Object.assign(fake.refusals, { method, status, left: 2 });
      expect(await service.pin(cid, "anchor 0")).to.equal(true);
      expect(fake.pins.length).to.equal(1);
      expect(pauses.slice(0, 2)).to.deep.equal([3_000, 3_000]);
    });
  }

  it("is not asked again for ever, nor where it may have taken what it was asked for", async () => {
    Object.assign(fake.refusals, { method: "POST", status: 502, left: 1 });
    expect(await codeOfAsync(() => service.pin(cid, "anchor 0"))).to.equal("CONTENT_WRITE_FAILED");
    Object.assign(fake.refusals, { method: "GET", status: 429, left: 1_000 });
    expect(await codeOfAsync(() => service.pin(cid, "anchor 0"))).to.equal("CONTENT_WRITE_FAILED");
    expect(fake.refusals.left).to.equal(995);
  });

  for (const body of ["<html></html>", "{}", '{"results": [{"requestid": 1}]}', "[]"]) {
    it(`is not believed when it answers ${body}`, async () => {
      fake.answer = { status: 200, body };
      expect(await codeOfAsync(() => service.pin(cid, "anchor 0"))).to.equal("CONTENT_WRITE_FAILED");
    });
  }
});
