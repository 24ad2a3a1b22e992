/** Lists that a service gives page by page. */
import { DmtpError } from "../protocol/error.ts";
import { parseAnswer } from "./api/check.ts";
import type { Schema } from "./api/schema.ts";
import type { Page } from "./api/values.ts";
import { queryText, type Query, type Transport } from "./transport.ts";

/** Two million items, at 200 a page. */
export const MAX_PAGES = 10_000;

/** @throws ANSWER_MALFORMED for a list that does not end, and what {@link Transport.json} throws */
export async function* readPages<P extends Page<unknown>>(
  transport: Transport,
  path: string,
  query: Query,
  schema: Schema<P, unknown>,
  maxPages = MAX_PAGES,
): AsyncGenerator<P> {
  let cursor: string | undefined;
  for (let count = 0; count < maxPages; count++) {
    const answer = await transport.json(path + queryText({ ...query, cursor }));
    const page = parseAnswer(schema, answer, "answer");
    yield page;
    if (page.next === null) return;
    // One that leads nowhere would be followed for ever.
    if (page.next === cursor) throw new DmtpError("ANSWER_MALFORMED", "a cursor that leads to itself");
    cursor = page.next;
  }
  throw new DmtpError("ANSWER_MALFORMED", `a list of more than ${maxPages} pages`);
}
