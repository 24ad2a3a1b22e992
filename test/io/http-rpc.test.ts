import { expect } from "chai";

import { faultOf } from "../../io/chain/rpc/rpc-fault.ts";
import { httpRpc, type HttpRpcOptions } from "../../io/chain/rpc/http-rpc.ts";
import { providerRpc } from "../../io/chain/rpc/provider-rpc.ts";
import { DmtpError } from "../../protocol/error.ts";
import { codeOf } from "../fixtures/refusal.ts";

interface Sent {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: unknown;
}

interface Call {
  id: number;
  method: string;
  params: unknown[];
}
const CALL = { method: "eth_chainId", params: [] };
const pause = () => Promise.resolve();

/** A fetch that answers by a script, and remembers what was sent. */
function scripted(answer: (body: unknown, attempt: number) => Response | Promise<Response>): {
  sent: Sent[];
  fetch: typeof fetch;
} {
  const sent: Sent[] = [];
  const fake = async (url: unknown, options: RequestInit = {}): Promise<Response> => {
    const body: unknown = JSON.parse(options.body as string);
    sent.push({ url: String(url), headers: options.headers as Record<string, string>, body });
    return answer(body, sent.length);
  };
  return { sent, fetch: fake };
}

const ok = (body: unknown): Response => Response.json(body);
const result = (body: unknown): Response =>
  ok({ jsonrpc: "2.0", id: (body as Call).id, result: (body as Call).method });

async function failureOf(act: () => Promise<unknown>): Promise<DmtpError> {
  try {
    await act();
  } catch (error) {
    expect(error).to.be.instanceOf(DmtpError);
    return error as DmtpError;
  }
  throw new Error("it did not fail");
}

describe("JSON-RPC over HTTP", () => {
  it("sends one call and gives its result", async () => {
    const { sent, fetch } = scripted(result);
    expect(await httpRpc("https://node.example/v2", { fetch }).request(CALL)).to.equal("eth_chainId");
    expect(sent[0]?.url).to.equal("https://node.example/v2");
    expect(sent[0]?.body).to.deep.include({ jsonrpc: "2.0", method: "eth_chainId", params: [] });
  });

  it("sends a batch in one request, and puts answers in the order of the calls", async () => {
    const { sent, fetch } = scripted((body) =>
      ok((body as Call[]).map(({ id, method }) => ({ id, result: method })).reverse()),
    );
    const calls = ["a", "b", "c"].map((method) => ({ method, params: [] }));
    expect(await httpRpc("https://node.example", { fetch }).batch(calls)).to.deep.equal(["a", "b", "c"]);
    expect(sent.length).to.equal(1);
  });

  it("sends calls one by one to a node that takes no batches, and does not try again", async () => {
    const { sent, fetch } = scripted((body) =>
      Array.isArray(body) ? ok({ id: null, error: { code: -32600, message: "no batches" } }) : result(body),
    );
    const rpc = httpRpc("https://node.example", { fetch });
    const calls = ["a", "b"].map((method) => ({ method, params: [] }));
    expect(await rpc.batch(calls)).to.deep.equal(["a", "b"]);
    expect(await rpc.batch(calls)).to.deep.equal(["a", "b"]);
    expect(sent.length).to.equal(5);
  });

  describe("and a node that takes only so many calls in a batch", () => {
    const calls = Array.from({ length: 40 }, (_, i) => ({ method: `call ${i}`, params: [] }));
    const methods = calls.map(({ method }) => method);
    const error = { code: -32_600, message: "no" };
    const refusals: Record<string, (bodies: readonly Call[]) => Response> = {
      "HTTP status 500 and a page": () => new Response("<html>", { status: 500 }),
      "HTTP status 500 and JSON of its own": () => Response.json({ message: "no" }, { status: 500 }),
      "HTTP status 413": () => new Response("", { status: 413 }),
      "HTTP status 400": () => new Response("Bad Request", { status: 400 }),
      "HTTP status 502 of the gateway in front": () => new Response("", { status: 502 }),
      "one error for all": () => ok({ jsonrpc: "2.0", id: null, error }),
      "one error and HTTP status 500": () => Response.json({ jsonrpc: "2.0", id: null, error }, { status: 500 }),
      "a list with one error": (bodies) => ok([{ jsonrpc: "2.0", id: bodies[0]?.id, error }]),
      "a list with one error without an id": () => ok([{ jsonrpc: "2.0", id: null, error }]),
      "an empty list": () => ok([]),
      "a list with fewer answers": (bodies) =>
        ok(bodies.slice(0, -1).map(({ id, method }) => ({ id, result: method }))),
      "an error for each call": (bodies) => ok(bodies.map(({ id }) => ({ id, error }))),
      "an error for each call and HTTP status 500": (bodies) =>
        Response.json(
          bodies.map(({ id }) => ({ id, error })),
          { status: 500 },
        ),
      "an error for the calls that do not fit": (bodies) => {
        const late = { code: -32_003, message: "response too large" };
        return ok(bodies.map(({ id, method }, i) => (i < 2 ? { id, result: method } : { id, error: late })));
      },
      "an answer that ends in the middle": () => new Response('[{"jsonrpc":"2.0","id":1,"res'),
      "a closed connection": () => {
        throw new TypeError("fetch failed", { cause: { code: "UND_ERR_SOCKET" } });
      },
    };
    for (const [title, refuse] of Object.entries(refusals)) {
      for (const most of [1, 3, 12]) {
        it(`finds the ${most} that it takes, and keeps to them, where more is answered with ${title}`, async () => {
          const { sent, fetch } = scripted((body) => {
            if (!Array.isArray(body)) return result(body);
            const bodies = body as Call[];
            if (bodies.length > most) return refuse(bodies);
            return ok(bodies.map(({ id, method }) => ({ id, result: method })));
          });
          const rpc = httpRpc("https://node.example", { fetch, pause });
          expect(await rpc.batch(calls)).to.deep.equal(methods);
          sent.length = 0;
          const few = calls.slice(0, 12);
          expect(await rpc.batch(few)).to.deep.equal(methods.slice(0, 12));
          expect(sent.length).to.be.at.most(Math.ceil(12 / Math.max(1, Math.floor((most * 3) / 4))) + 2);
        });
      }
    }

    it("tries a larger batch again after a while", async () => {
      let most = 2;
      const { sent, fetch } = scripted((body) => {
        if (!Array.isArray(body)) return result(body);
        const bodies = body as Call[];
        if (bodies.length > most) return new Response("", { status: 413 });
        return ok(bodies.map(({ id, method }) => ({ id, result: method })));
      });
      const rpc = httpRpc("https://node.example", { fetch, pause });
      await rpc.batch(calls);
      most = 100;
      for (let i = 0; i < 60; i++) await rpc.batch(calls);
      sent.length = 0;
      await rpc.batch(calls);
      expect(sent).to.have.length(1);
    });

    it("does not make a batch smaller for what went wrong once", async () => {
      const { sent, fetch } = scripted((body, attempt) => {
        if (attempt === 2) return new Response("", { status: 500 });
        return ok((body as Call[]).map(({ id, method }) => ({ id, result: method })));
      });
      const rpc = httpRpc("https://node.example", { fetch, pause });
      for (let i = 0; i < 3; i++) expect(await rpc.batch(calls)).to.deep.equal(methods);
      expect(sent.map(({ body }) => (body as unknown[]).length)).to.deep.equal([40, 40, 40, 40]);
    });

    it("does not take a node that is away, or calls that fail by themselves, for one that wants less", async () => {
      let isAway = true;
      const { sent, fetch } = scripted((body) => {
        if (isAway) return new Response("", { status: 500 });
        return ok([body].flat().map((call) => ({ id: (call as Call).id, result: (call as Call).method })));
      });
      const rpc = httpRpc("https://node.example", { fetch, pause });
      expect((await failureOf(() => rpc.batch(calls))).code).to.equal("CHAIN_UNREACHABLE");
      isAway = false;
      sent.length = 0;
      expect(await rpc.batch(calls)).to.deep.equal(methods);
      expect(sent).to.have.length(1);

      const without = scripted((body) =>
        Array.isArray(body)
          ? ok((body as Call[]).map(({ id }) => ({ id, error })))
          : ok({ id: (body as Call).id, error }),
      );
      const failing = httpRpc("https://node.example", { fetch: without.fetch, pause });
      const answers = await failing.attempt!(calls);
      expect(answers.every((answer) => "error" in answer && faultOf(answer.error)?.code === -32_600)).to.equal(true);
      expect(without.sent.length).to.be.at.most(8);
      const nobody = scripted(() => {
        throw new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } });
      });
      await failureOf(() => httpRpc("https://node.example", { fetch: nobody.fetch }).batch(calls));
      expect(nobody.sent).to.have.length(1);
    });
  });

  describe("and a node that was asked too much", () => {
    const calls = Array.from({ length: 40 }, (_, i) => ({ method: `call ${i}`, params: [] }));
    /** Grants so many calls between two pauses. */
    function limited(refusal: object, granted: number): { options: HttpRpcOptions; pauses: number[]; seen: string[] } {
      const pauses: number[] = [];
      const seen: string[] = [];
      let left = granted;
      const { fetch } = scripted((body) => {
        const answers = [body].flat().map((call) => {
          const { id, method } = call as Call;
          if (left <= 0) return { id, error: refusal };
          left -= 1;
          seen.push(method);
          return { id, result: method };
        });
        return ok(Array.isArray(body) ? answers : answers[0]);
      });
      const wait = (ms: number): Promise<void> => {
        pauses.push(ms);
        left = granted;
        return Promise.resolve();
      };
      return { options: { fetch, pause: wait }, pauses, seen };
    }

    for (const refusal of [
      { code: 429, message: "slow down" },
      { code: -32_005, message: "limit exceeded" },
      { code: -32_007, message: "12/second request limit reached" },
      { code: -32_029, message: "slow down" },
      { code: -32_000, message: "Too many requests" },
    ]) {
      it(`waits, and asks for what was refused with ${refusal.code}: ${refusal.message}`, async () => {
        const { options, pauses, seen } = limited(refusal, 12);
        const answers = await httpRpc("https://node.example", options).batch(calls);
        expect(answers).to.deep.equal(calls.map(({ method }) => method));
        expect(seen).to.deep.equal(answers);
        expect(pauses).to.deep.equal([500, 500, 500]);
      });
    }

    it("waits ever longer for one that grants nothing, and in the end says so", async () => {
      const { options, pauses } = limited({ code: -32_005, message: "limit exceeded" }, 0);
      const failure = await failureOf(() => httpRpc("https://node.example", options).request(CALL));
      expect(faultOf(failure)?.code).to.equal(-32_005);
      expect(pauses).to.deep.equal([500, 1_000, 2_000]);
    });

    it("waits as long as it says, in a header or in words", async () => {
      const pauses: number[] = [];
      const wait = (ms: number): Promise<void> => {
        pauses.push(ms);
        return Promise.resolve();
      };
      const options = { pause: wait, now: () => 0 };
      const header = scripted((body, attempt) =>
        attempt === 1 ? new Response("", { status: 429, headers: { "retry-after": "4" } }) : result(body),
      );
      await httpRpc("https://node.example", { ...options, fetch: header.fetch }).request(CALL);
      expect(pauses[0]).to.equal(4_000);
      pauses.length = 0;
      const words = scripted((body, attempt) =>
        attempt === 1
          ? ok({ id: (body as Call).id, error: { code: -32_090, message: "Too many requests, retry in 3s" } })
          : result(body),
      );
      await httpRpc("https://node.example", { ...options, fetch: words.fetch }).request(CALL);
      expect(pauses[0]).to.equal(3_000);
    });

    it("is left alone until the time that it names, where that is too long to be waited for", async () => {
      let nowMs = 0;
      const { sent, fetch } = scripted((body, attempt) =>
        attempt === 1 ? new Response("", { status: 429, headers: { "retry-after": "60" } }) : result(body),
      );
      const rpc = httpRpc("https://node.example", { fetch, pause, now: () => nowMs });
      for (let i = 0; i < 3; i++)
        expect(faultOf(await failureOf(() => rpc.batch(calls.slice(0, 2))))).to.include({
          code: 429,
          retryAfterMs: 60_000,
        });
      expect(sent).to.have.length(1);
      nowMs = 60_000;
      expect(await rpc.request(CALL)).to.equal("eth_chainId");
    });

    it("is not waited for where a contract or a range of blocks is what says so", async () => {
      const { options, pauses } = limited({ code: 3, message: "execution reverted: rate limit" }, 0);
      await failureOf(() => httpRpc("https://node.example", options).request(CALL));
      const range = limited({ code: -32_005, message: "limit exceeded" }, 0);
      await failureOf(() =>
        httpRpc("https://node.example", range.options).request({ method: "eth_getLogs", params: [] }),
      );
      expect([pauses, range.pauses]).to.deep.equal([[], []]);
    });
  });

  it("asks again at once when a kept connection was closed, and not when there is no node", async () => {
    for (const [code, attempts] of [
      ["ECONNRESET", 2],
      ["UND_ERR_SOCKET", 2],
      ["ECONNREFUSED", 1],
    ] as const) {
      const { sent, fetch } = scripted(() => {
        throw new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code }) });
      });
      const error = await failureOf(() => httpRpc("https://node.example", { fetch }).request(CALL));
      expect(error.message).to.include(code);
      expect(sent.length).to.equal(attempts);
    }
  });

  it("fails a batch in which one call fails or has no answer", async () => {
    for (const second of [
      { id: 2, error: { code: 3, message: "execution reverted" } },
      { id: 9, result: "b" },
    ]) {
      const { fetch } = scripted(() => ok([{ id: 1, result: "a" }, second]));
      const error = await failureOf(() => httpRpc("https://node.example", { fetch }).batch([CALL, CALL]));
      expect(error.code).to.equal("CHAIN_UNREACHABLE");
    }
  });

  it("keeps the words, the code and the data of a node's error, whatever the HTTP status", async () => {
    for (const status of [200, 400, 500]) {
      const { fetch } = scripted((body) => {
        const error = { code: 3, message: "execution reverted", data: "0x1234" };
        return Response.json({ id: (body as Call).id, error }, { status });
      });
      const error = await failureOf(() => httpRpc("https://node.example", { fetch }).request(CALL));
      expect(error.message).to.equal("https://node.example: execution reverted");
      expect(faultOf(error)).to.deep.include({ fault: "answer", code: 3, data: "0x1234" });
    }
  });

  it("asks again when there were too many requests or a gateway is away, and not for ever", async () => {
    const passing = scripted((body, attempt) => (attempt < 3 ? new Response("", { status: 429 }) : result(body)));
    expect(await httpRpc("https://node.example", { fetch: passing.fetch, pause }).request(CALL)).to.equal(
      "eth_chainId",
    );
    const lasting = scripted(() => new Response("", { status: 503 }));
    const error = await failureOf(() => httpRpc("https://node.example", { fetch: lasting.fetch, pause }).request(CALL));
    expect(faultOf(error)).to.deep.include({ fault: "status", code: 503 });
    expect(lasting.sent.length).to.equal(4);
  });

  for (const [title, answer] of [
    ["a page", () => new Response("<html>")],
    ["a page with an error status", () => new Response("<html>", { status: 403 })],
    ["the answer to another call", () => ok({ id: 999, result: "0x1" })],
    ["no result", (body: unknown) => ok({ id: (body as Call).id })],
    ["null", () => ok(null)],
    ["a list where one answer was due", () => ok([])],
  ] as const) {
    it(`does not take ${title} for an answer`, async () => {
      const { fetch } = scripted(answer);
      expect((await failureOf(() => httpRpc("https://node.example", { fetch }).request(CALL))).code).to.equal(
        "CHAIN_UNREACHABLE",
      );
    });
  }

  it("gives up on a node that does not answer in time", async () => {
    const never = ((_: unknown, { signal }: RequestInit) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason as Error));
      })) as typeof fetch;
    const error = await failureOf(() => httpRpc("https://node.example", { fetch: never, timeoutMs: 30 }).request(CALL));
    expect(faultOf(error)?.fault).to.equal("timeout");
  });

  it("says by which error the system refused the connection", async () => {
    const error = await failureOf(() => httpRpc("http://127.0.0.1:9/secret-key-1").request(CALL));
    expect(error.message).to.match(/^http:\/\/127\.0\.0\.1:9: /);
    expect(faultOf(error)?.fault).to.equal("network");
  });

  it("shows no key of the URL: not in its name, and not in what a node says of it", async () => {
    const url = "https://user:pass-word-9@node.example/v2/abcdef0123456789?apikey=query-secret-1";
    const { sent, fetch } = scripted((body) => {
      const message = `project abcdef0123456789 with ${url} and query-secret-1 of pass-word-9 is over its limit`;
      return ok({ id: (body as Call).id, error: { code: -32000, message } });
    });
    const rpc = httpRpc(url, { fetch });
    expect(rpc.name).to.equal("https://node.example");
    const error = await failureOf(() => rpc.request(CALL));
    const shown = JSON.stringify([error.message, error.hint, error.cause, error.stack]);
    for (const secret of ["abcdef0123456789", "query-secret-1", "pass-word-9"]) expect(shown).not.to.include(secret);
    expect(sent[0]?.url).to.equal("https://node.example/v2/abcdef0123456789?apikey=query-secret-1");
    expect(sent[0]?.headers["authorization"]).to.equal(`Basic ${btoa("user:pass-word-9")}`);
    const failing = httpRpc(url, { fetch: () => Promise.reject(new TypeError(`fetch failed: ${url}`)) });
    expect((await failureOf(() => failing.request(CALL))).message).not.to.include("abcdef0123456789");
  });

  it("refuses what is no URL", () => {
    expect(codeOf(() => httpRpc("node.example"))).to.equal("CONFIGURATION_INVALID");
  });
});

describe("JSON-RPC through an EIP-1193 provider", () => {
  it("passes calls on and keeps what an error says, without URLs", async () => {
    const failing = {
      request: () =>
        Promise.reject(
          Object.assign(new Error("reverted at https://a.example/key1234"), { code: 3, data: { data: "0xab" } }),
        ),
    };
    const error = await failureOf(() => providerRpc(failing, "localhost").request(CALL));
    expect(error.message).to.equal("localhost: reverted at https://a.example");
    expect(faultOf(error)).to.deep.include({ fault: "answer", code: 3, data: "0xab" });
    const gone = { request: () => Promise.reject(new Error("connect ECONNREFUSED")) };
    expect(faultOf(await failureOf(() => providerRpc(gone, "localhost").request(CALL)))?.fault).to.equal("network");
    const echo = {
      request: ({ method, params }: { method: string; params?: unknown[] }) => Promise.resolve([method, params]),
    };
    expect(await providerRpc(echo, "localhost").batch([CALL])).to.deep.equal([["eth_chainId", []]]);
  });
});
