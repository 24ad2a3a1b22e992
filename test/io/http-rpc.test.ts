import { expect } from "chai";

import { faultOf } from "../../io/chain/rpc-fault.ts";
import { httpRpc } from "../../io/chain/http-rpc.ts";
import { providerRpc } from "../../io/chain/provider-rpc.ts";
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
