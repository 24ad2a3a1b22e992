import { createServer, type IncomingHttpHeaders, type Server } from "node:http";

import { expect } from "chai";

import { faultOf } from "../../io/chain/rpc/rpc-fault.ts";
import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { KuboStore } from "../../io/content/kubo.ts";
import { cidOf } from "../../protocol/cid.ts";
import { utf8 } from "../../protocol/bytes.ts";
import { listen, shut } from "../fixtures/loopback.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

/** Whatever leads elsewhere must not have its client POST there: this machine's own services take it for one of them. */
describe("A redirect to this machine", () => {
  let redirecting: Server;
  let inner: Server;
  let url: URL;
  let innerUrl: URL;
  let status: number;
  /** What reached the service that is only to be reached from this machine. */
  const reached: { readonly path: string | undefined; readonly headers: IncomingHttpHeaders }[] = [];
  let asked: number;

  before(async () => {
    inner = createServer((request, response) => {
      reached.push({ path: request.url, headers: request.headers });
      response.setHeader("content-type", "application/json").end('{"jsonrpc":"2.0","id":1,"result":"0x1"}');
    });
    innerUrl = await listen(inner);
    redirecting = createServer((request, response) => {
      asked += 1;
      request.resume();
      const location = new URL("/api/v0/repo/gc?quiet=true", innerUrl).href;
      request.on("end", () => response.writeHead(status, { location }).end());
    });
    url = await listen(redirecting);
  });
  after(async () => {
    await shut(redirecting);
    await shut(inner);
  });
  beforeEach(() => {
    asked = 0;
    reached.length = 0;
  });

  for (const each of [301, 302, 303, 307, 308]) {
    it(`is not followed where an RPC gives it with status ${each}`, async () => {
      status = each;
      const rpc = httpRpc(url.href);
      for (const ask of [() => rpc.request(CALL), () => rpc.batch([CALL, CALL])]) {
        let failure: unknown;
        await ask().catch((error: unknown) => (failure = error));
        expect(faultOf(failure)?.fault).to.equal("network");
      }
      expect(asked).to.be.at.least(2);
      expect(reached).to.deep.equal([]);
    });

    it(`is not followed where Kubo's API gives it with status ${each}, and its headers go nowhere`, async () => {
      status = each;
      const bytes = utf8("a block");
      const cid = cidOf(bytes);
      const store = new KuboStore(url, {
        headers: { "x-token": "secret" },
        writeTimeoutMs: 2_000,
        pinTimeoutMs: 2_000,
      });
      try {
        for (const act of [
          () => store.pin([cid]),
          () => store.isPinned([cid]),
          () => store.put([{ cid, bytes }]),
          () => store.get(cid),
        ])
          expect(await codeOfAsync(act)).to.match(/^CONTENT_/);
      } finally {
        await store.close();
      }
      expect(asked).to.be.at.least(4);
      expect(reached).to.deep.equal([]);
    });
  }
});

const CALL = { method: "eth_chainId", params: [] };
