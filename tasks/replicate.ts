/** `pin --check`, `pin --repair` and `pin --to`: what is anchored, in every place where it should be. */
import { join } from "node:path";

import { KuboStore } from "../io/content/kubo.ts";
import { PinningService } from "../io/content/pinning-service.ts";
import { ReplicatedStore } from "../io/content/replicated.ts";
import type { ContentStore } from "../io/content/store.ts";
import { openDatabase } from "../io/database.ts";
import { digestOfCid, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { readAnchoredRoots, type AnchoredRoots, type Root } from "./anchored-roots.ts";
import type { Outcome } from "./command.ts";
import { copyRoot, type FindBlock } from "./copy-root.ts";
import {
  describeOthers,
  examineDocuments,
  keepIn,
  summarizeOthers,
  takeDocuments,
  type DocumentFinding,
} from "./key-documents.ts";
import type { Session } from "./session.ts";
import { plural } from "./terminal.ts";

const FILE = "replicas.sqlite";
const TO_HINT = "Check the URL of --to and that what it names runs; the next run goes on where this one ended.";
/** How many missing blocks are named of one anchor; how many there are is not asked. */
const MAX_NAMED = 100;

interface Finding {
  readonly store: string;
  readonly root: Cid;
  readonly what: string;
  readonly pinned: boolean;
  /** The first of them. */
  readonly missing: readonly Cid[];
}

/**
 * Whether every anchored block, and every key document of one's own, is present, undamaged and pinned in each store; exit 75 with
 * what is not. What is not right with the key documents of others is told, and decides nothing.
 */
export async function checkPins(session: Session): Promise<Outcome> {
  const roots = await readAnchoredRoots(session);
  const stores = storesOf(session.content);
  const findings: Finding[] = [];
  const documents: DocumentFinding[] = [];
  for (const store of stores) {
    for (const finding of await examine(session, store, roots.manifests)) findings.push(finding);
    for (const finding of await examineDocuments(store, roots.documents)) {
      documents.push(finding);
      if (finding.document.isOwn) findings.push(findingOf(store, finding));
    }
  }
  const names = stores.map(({ name }) => name);
  const count = roots.manifests.length + roots.documents.length;
  return {
    data: { stores: names, roots: count, findings, others: summarizeOthers(documents) },
    text: [
      `${plural(count, "root")} in ${names.join(" and ")}`,
      ...findings.map(({ store, what, root, pinned, missing }) => {
        const lacks = missing.length === 0 ? "all is there" : `lacks ${missing.join(", ")}`;
        return `  ${store}: ${what}, ${root}: ${pinned ? "pinned" : "not pinned"}, ${lacks}`;
      }),
      ...describeOthers(documents),
      ...(findings.length === 0 ? ["all is there and pinned"] : []),
    ].join("\n"),
    ...(findings.length > 0 && {
      next: "npx hardhat pin --repair",
      error: new DmtpError("CONTENT_MISSING", `${plural(findings.length, "root")} not wholly present and pinned`),
    }),
  };
}

/** Fetches what a store lacks from any other, any source or the mailbox, and pins what is not pinned. */
export async function repairPins(session: Session): Promise<Outcome> {
  const roots = await readAnchoredRoots(session);
  let put = 0;
  let pinned = 0;
  const lost: Finding[] = [];
  const documents: DocumentFinding[] = [];
  for (const store of storesOf(session.content)) {
    for (const finding of await examine(session, store, roots.manifests)) {
      const { copied, missing } = await copyRoot(finderOf(session), store, finding.root);
      put += copied;
      // A store may take a block, say that it has it already, and keep the damaged one.
      const left = missing.length > 0 ? missing : await findMissing(store, finding.root);
      if (left.length > 0) lost.push({ ...finding, missing: left });
      else pinned += 1;
    }
    const open = (await examineDocuments(store, roots.documents)).map(({ document }) => document);
    const left = await takeDocuments(session, open, finderOf(session), keepIn(store));
    put += open.length - left.length;
    pinned += open.length - left.length;
    for (const finding of left) {
      documents.push(finding);
      if (finding.document.isOwn) lost.push(findingOf(store, finding));
    }
  }
  return {
    data: { put, pinned, lost, others: summarizeOthers(documents) },
    text: [
      `put ${plural(put, "block")}, pinned ${plural(pinned, "root")}`,
      ...lost.map(
        ({ store, what, missing }) =>
          `  ${store}: ${what} lacks ${missing.slice(0, MAX_NAMED).join(", ")}: nobody has it`,
      ),
      ...describeOthers(documents),
    ].join("\n"),
    ...(lost.length > 0 && {
      error: new DmtpError("CONTENT_MISSING", `${plural(lost.length, "root")} cannot be completed from any source`),
    }),
  };
}

/**
 * Copies everything anchored, and the key documents, to another Kubo, and pins it there; or has a pinning service do so. What was
 * copied is remembered, so that the next run asks for what is new; a run that ends early is taken up where it was.
 */
export async function copyTo(session: Session, url: string): Promise<Outcome> {
  const target = openTarget(session, url);
  const done = openDatabase(join(session.folder, FILE), "the list of what was copied");
  try {
    done.exec(
      "CREATE TABLE IF NOT EXISTS done (target TEXT, digest BLOB, PRIMARY KEY (target, digest)) STRICT, WITHOUT ROWID",
    );
    const isDone = done.prepare("SELECT 1 FROM done WHERE target = ? AND digest = ?");
    const markDone = done.prepare("INSERT OR IGNORE INTO done VALUES (?, ?)");
    const roots = await readAnchoredRoots(session);
    const isOpen = ({ cid }: Root): boolean => isDone.get(target.name, digestOfCid(cid)) === undefined;
    const manifests = roots.manifests.filter(isOpen);
    const open = roots.documents.filter(isOpen);
    const missing: Cid[] = [];
    let copied = 0;
    for (const [i, root] of manifests.entries()) {
      session.terminal.progress(`copying ${root.what}, ${i + 1} of ${manifests.length}`);
      const result = await (target instanceof PinningService
        ? askFor(target, root)
        : copyRoot(finderOf(session), target, root.cid));
      copied += result.copied;
      for (const cid of result.missing) missing.push(cid);
      // A crash before this line copies the anchor once more, which changes nothing.
      if (result.missing.length === 0) markDone.run(target.name, digestOfCid(root.cid));
    }
    session.terminal.progress(`copying ${plural(open.length, "key document")}`);
    // A service would pin whatever such a document leads to: it is asked for one only when it is one.
    const unpinned = new Set<Cid>();
    const documents = await takeDocuments(session, open, finderOf(session), async (cid, bytes) => {
      if (!(target instanceof PinningService)) await keepIn(target)(cid, bytes);
      else if (!(await target.pin(cid, "DMTP a key document"))) {
        unpinned.add(cid);
        return;
      }
      copied += 1;
      markDone.run(target.name, digestOfCid(cid));
    });
    for (const document of open) if (unpinned.has(document.cid)) documents.push({ document, state: "not pinned" });
    for (const { document } of documents) if (document.isOwn) missing.push(document.cid);
    return describeCopy(roots, target.name, manifests.length + open.length, copied, missing, documents);
  } finally {
    done.close();
    await target.close();
  }
}

function describeCopy(
  { manifests, documents }: AnchoredRoots,
  target: string,
  open: number,
  copied: number,
  missing: readonly Cid[],
  findings: readonly DocumentFinding[],
): Outcome {
  const alreadyThere = manifests.length + documents.length - open;
  return {
    data: { target, roots: open, alreadyThere, blocks: copied, missing, others: summarizeOthers(findings) },
    text: [
      `copied ${plural(copied, "block")} of ${plural(open, "root")} to ${target}; ${alreadyThere} were there`,
      ...missing.slice(0, MAX_NAMED).map((cid) => `  nobody has ${cid}`),
      ...describeOthers(findings),
    ].join("\n"),
    ...(missing.length > 0 && {
      error: new DmtpError("CONTENT_MISSING", `${plural(missing.length, "block")} that nobody has could not be copied`),
    }),
  };
}

/** `pinning+https://…` is a Pinning Service API endpoint, any other URL a Kubo's. */
function openTarget({ environment }: Session, url: string): KuboStore | PinningService {
  const pinning = /^pinning\+(https?:.*)$/i.exec(url)?.[1];
  if (pinning !== undefined && URL.canParse(pinning)) {
    return new PinningService(new URL(pinning), { token: environment.pinningToken, hint: TO_HINT });
  }
  const kubo = url.replace(/^kubo\+/i, "");
  const api = environment.ipfsApis.find((each) => URL.canParse(kubo) && each.url.href === new URL(kubo).href);
  if (/^https?:/i.test(kubo) && URL.canParse(kubo))
    return new KuboStore(new URL(kubo), { headers: api?.headers ?? {}, hint: TO_HINT });
  throw new DmtpError(
    "OPTION_INVALID",
    "--to takes the URL of a Kubo RPC API, or pinning+ and that of a pinning service",
  );
}

/** What is there is named by its manifest: the service fetches it from whoever has it. */
async function askFor(
  service: PinningService,
  { cid, what }: Root,
): Promise<{ copied: number; missing: readonly Cid[] }> {
  return (await service.pin(cid, `DMTP ${what}`)) ? { copied: 1, missing: [] } : { copied: 0, missing: [cid] };
}

async function examine({ terminal }: Session, store: ContentStore, roots: readonly Root[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  const pinned = await store.isPinned(roots.map(({ cid }) => cid));
  for (const [i, { cid, what }] of roots.entries()) {
    terminal.progress(`${store.name}: ${what}, ${i + 1} of ${roots.length}`);
    const missing = await findMissing(store, cid);
    const isPinned = pinned[i] === true;
    if (!isPinned || missing.length > 0)
      findings.push({ store: store.name, root: cid, what, pinned: isPinned, missing });
  }
  return findings;
}

function findMissing(store: ContentStore, root: Cid): Promise<readonly Cid[]> {
  return store.missing([root], MAX_NAMED, { isProving: true });
}

function findingOf({ name: store }: ContentStore, { document: { cid, what }, state }: DocumentFinding): Finding {
  return { store, root: cid, what, pinned: false, missing: state === "not pinned" ? [] : [cid] };
}

/** Finds a block in the mailbox, or in any source. */
function finderOf({ content, mailbox }: Session): FindBlock {
  return async (cid) => mailbox.block(cid) ?? (await content.get(cid));
}

function storesOf(content: ContentStore): readonly ContentStore[] {
  return content instanceof ReplicatedStore ? content.replicas : [content];
}
