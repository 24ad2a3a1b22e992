/**
 * Key documents in a content store. Those of one's own wallets count as everything that is anchored does. Those of others are kept
 * where they can be had, and are told of apart: what a stranger registers must not decide how a command ends, nor how long it takes.
 */
import { forEachConcurrent } from "../io/concurrent.ts";
import type { ContentStore } from "../io/content/store.ts";
import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { Deployment } from "../protocol/room.ts";
import { isDocument, type DocumentRoot } from "./anchored-roots.ts";
import type { FindBlock } from "./copy-root.ts";
import type { Session } from "./session.ts";
import { plural } from "./terminal.ts";

/** `malformed`: there is a block, and it is not the document that was registered. */
type DocumentState = "missing" | "malformed" | "not pinned";

export interface DocumentFinding {
  readonly document: DocumentRoot;
  readonly state: DocumentState;
}

/** What is to be done with a document; what it is given is one. */
type TakeDocument = (cid: Cid, block: Uint8Array) => Promise<void>;

const CONCURRENT = 16;
/** How long the documents of others are asked for in one run: a thousand that nobody has would take hours. */
const OTHERS_MS = 120_000;
const MAX_NAMED = 100;

/** Those that a store itself does not have, or does not hold by a pin. */
export async function examineDocuments(
  store: ContentStore,
  documents: readonly DocumentRoot[],
): Promise<DocumentFinding[]> {
  const cids = documents.map(({ cid }) => cid);
  const missing = new Set(await store.missing(cids, cids.length, { isFollowing: false, isProving: true }));
  const pinned = await store.isPinned(cids);
  return documents.flatMap((document, i): DocumentFinding[] => {
    if (missing.has(document.cid)) return [{ document, state: "missing" }];
    return pinned[i] === true ? [] : [{ document, state: "not pinned" }];
  });
}

/** Keeps a document in a store, and pins it. */
export function keepIn(store: ContentStore): TakeDocument {
  return async (cid, bytes) => {
    await store.put([{ cid, bytes }]);
    await store.pin([cid], { isSearching: false });
  };
}

/** Finds documents and gives each to `take`, one's own first. @returns what could not be had */
export async function takeDocuments(
  { deployment, elapsedMs, random }: Pick<Session, "deployment" | "elapsedMs" | "random">,
  documents: readonly DocumentRoot[],
  find: FindBlock,
  take: TakeDocument,
): Promise<DocumentFinding[]> {
  const findings: DocumentFinding[] = [];
  const attempt = async (document: DocumentRoot): Promise<void> => {
    const state = await takeOne(document, deployment, find, take);
    if (state !== null) findings.push({ document, state });
  };
  await forEachConcurrent(
    documents.filter(({ isOwn }) => isOwn),
    CONCURRENT,
    attempt,
  );
  const endMs = elapsedMs() + OTHERS_MS;
  const others = rotate(
    documents.filter(({ isOwn }) => !isOwn),
    random,
  );
  await forEachConcurrent(others, CONCURRENT, (document) =>
    elapsedMs() < endMs ? attempt(document) : Promise.resolve(void findings.push({ document, state: "missing" })),
  );
  return findings;
}

/** The documents of others among these: how many of each state, and the first of them, for `--json`. */
export function summarizeOthers(findings: readonly DocumentFinding[]): object {
  const others = findings.filter(({ document }) => !document.isOwn);
  const count = (state: DocumentState): number => others.filter((finding) => finding.state === state).length;
  return {
    missing: count("missing"),
    malformed: count("malformed"),
    notPinned: count("not pinned"),
    documents: others.slice(0, MAX_NAMED).map(({ document, state }) => ({ root: document.cid, state })),
  };
}

/** The same for a person: no line when there is nothing to tell. */
export function describeOthers(findings: readonly DocumentFinding[]): string[] {
  const others = findings.filter(({ document }) => !document.isOwn);
  if (others.length === 0) return [];
  const states = ["missing", "malformed", "not pinned"] as const;
  const counts = states.flatMap((state) => {
    const n = others.filter((finding) => finding.state === state).length;
    return n === 0 ? [] : [`${n.toLocaleString("en")} ${state}`];
  });
  return [`${plural(others.length, "key document")} of others: ${counts.join(", ")}; that is theirs to mend`];
}

/** Null when it was taken. */
async function takeOne(
  document: DocumentRoot,
  deployment: Deployment,
  find: FindBlock,
  take: TakeDocument,
): Promise<DocumentState | null> {
  const block = await find(document.cid).catch((error: unknown) => {
    // Sources that are away are no reason to end for the sake of somebody else's document.
    if (document.isOwn || !(error instanceof DmtpError) || error.kind !== "unavailable") throw error;
    return null;
  });
  if (block === null) return "missing";
  if (!isDocument(document, deployment, block)) return "malformed";
  await take(document.cid, block);
  return null;
}

/** From another place in each run, so that those that nobody has do not keep the same ones from their turn. */
function rotate<T>(items: readonly T[], random: (sizeBytes: number) => Uint8Array): T[] {
  if (items.length < 2) return [...items];
  const start = new DataView(random(4).buffer).getUint32(0) % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}
