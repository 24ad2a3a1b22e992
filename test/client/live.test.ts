import { expect } from "chai";

import { listen, type LiveEvent } from "../../client/live.ts";
import { INDEXER, Transport } from "../../client/transport.ts";
import { DmtpError } from "../../protocol/error.ts";

/** What the client hears of a stream that comes in these pieces. */
async function hear(pieces: readonly string[], sentIds: (string | null)[] = []): Promise<LiveEvent[]> {
  const stopped = new AbortController();
  let connections = 0;
  const fetchStream = (_url: unknown, init: RequestInit = {}): Promise<Response> => {
    connections += 1;
    sentIds.push(new Headers(init.headers).get("last-event-id"));
    if (connections > 1) stopped.abort();
    const bytes = pieces.map((piece) => new TextEncoder().encode(piece));
    const body = new ReadableStream({
      start(controller) {
        for (const part of bytes) controller.enqueue(part);
        controller.close();
      },
    });
    return Promise.resolve(new Response(body));
  };
  const transport = new Transport(INDEXER, "http://indexer.example", { fetch: fetchStream });
  const events: LiveEvent[] = [];
  for await (const event of listen(transport, { signal: stopped.signal, pause: () => Promise.resolve() }))
    if (connections === 1) events.push(event);
  return events;
}

const LINES = [
  ...[": hello", ""],
  ...["id: 1-0", "event: reorg", 'data: {"to":null,"depth":3,"cause":"gap","id":"of a newer indexer"}', ""],
  ...["event: reset", "data: {", 'data:"reason":', 'data: "it is gone"', "data: }", "id: 2-0", ""],
  ...["event: of a newer indexer", "data: {}", ""],
  ...["id: 3-0", ""],
];
const HEARD = [
  { id: "1-0", name: "reorg", to: null, depth: 3, cause: "gap" },
  { id: "2-0", name: "reset", reason: "it is gone" },
];

describe("Live updates", () => {
  for (const [name, end] of [
    ["LF", "\n"],
    ["CR LF, as proxies write", "\r\n"],
    ["CR", "\r"],
  ] as const) {
    it(`are heard with lines that end with ${name}, however the stream is cut`, async () => {
      const text = LINES.map((line) => line + end).join("") + end;
      for (const sizeBytes of [1, 2, 7, text.length]) {
        const pieces = Array.from({ length: Math.ceil(text.length / sizeBytes) }, (_, i) =>
          text.slice(i * sizeBytes, (i + 1) * sizeBytes),
        );
        const ids: (string | null)[] = [];
        expect(await hear(pieces, ids)).to.deep.equal(HEARD);
        expect(ids).to.deep.equal([null, "3-0"]);
      }
    });
  }

  it("are refused when an event does not end", async () => {
    for (const piece of ["data: " + "x".repeat(1_000_001), ...[`data: ${"x".repeat(999)}\n`.repeat(1_100)]]) {
      let failure: unknown;
      await hear([piece, "more"]).catch((error: unknown) => (failure = error));
      expect(failure).to.be.instanceOf(DmtpError).and.to.include({ code: "ANSWER_MALFORMED" });
    }
  });
});
