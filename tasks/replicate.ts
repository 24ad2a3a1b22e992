/** `pin --check`, `pin --repair` and `pin --to`: what is anchored, in every place where it should be. */
import { join } from "node:path";

import { KuboStore } from "../io/content/kubo.ts";
import { PinningService } from "../io/content/pinning-service.ts";
import { ReplicatedStore } from "../io/content/replicated.ts";
import type { ContentStore } from "../io/content/store.ts";
import { openDatabase } from "../io/database.ts";
import { cidOfDigest, digestOfCid, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { manifestIn } from "../protocol/manifest.ts";
import type { Outcome } from "./command.ts";
import { copyRoot, type FindBlock } from "./copy-root.ts";
import type { Session } from "./session.ts";
import { plural } from "./terminal.ts";

const FILE = "replicas.sqlite";
/** How many missing blocks are named of one anchor; how many there are is not asked. */
const MAX_NAMED = 100;

/** What is to be found in a store: an anchor's manifest, with all that it links to, or a key document. */
interface Root {
  readonly cid: Cid;
  readonly what: string;
}

interface Finding {
  readonly store: string;
  readonly root: Cid;
  readonly what: string;
  readonly pinned: boolean;
  /** The first of them. */
  readonly missing: readonly Cid[];
}

/** Whether every anchored block, and every key document, is present and pinned in each store; exit 75 with what is not. */
export async function checkPins(session: Session): Promise<Outcome> {
  const roots = await anchoredRoots(session);
  const findings: Finding[] = [];
  for (const store of storesOf(session.content)) {
    for (const finding of await examine(session, store, roots)) findings.push(finding);
  }
  const names = storesOf(session.content).map(({ name }) => name);
  return {
    data: { stores: names, roots: roots.length, findings },
    text: [
      `${plural(roots.length, "root")} in ${names.join(" and ")}`,
      ...findings.map(({ store, what, root, pinned, missing }) => {
        const lacks = missing.length === 0 ? "all is there" : `lacks ${missing.join(", ")}`;
        return `  ${store}: ${what}, ${root}: ${pinned ? "pinned" : "not pinned"}, ${lacks}`;
      }),
      findings.length === 0 ? "all is there and pinned" : "next: npx hardhat pin --repair",
    ].join("\n"),
    ...(findings.length > 0 && {
      error: new DmtpError("CONTENT_MISSING", `${plural(findings.length, "root")} not wholly present and pinned`),
    }),
  };
}

/** Fetches what a store lacks from any other, any source or the mailbox, and pins what is not pinned. */
export async function repairPins(session: Session): Promise<Outcome> {
  const roots = await anchoredRoots(session);
  let put = 0;
  let pinned = 0;
  const lost: Finding[] = [];
  for (const store of storesOf(session.content)) {
    for (const finding of await examine(session, store, roots)) {
      const { copied, missing } = await copyRoot(finderOf(session), store, finding.root);
      put += copied;
      if (missing.length > 0) lost.push({ ...finding, missing });
      else pinned += 1;
    }
  }
  return {
    data: { put, pinned, lost },
    text: [
      `put ${plural(put, "block")}, pinned ${plural(pinned, "root")}`,
      ...lost.map(
        ({ store, what, missing }) =>
          `  ${store}: ${what} lacks ${missing.slice(0, MAX_NAMED).join(", ")}: nobody has it`,
      ),
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
    const roots = await anchoredRoots(session);
    const open = roots.filter(({ cid }) => isDone.get(target.name, digestOfCid(cid)) === undefined);
    const missing: Cid[] = [];
    let copied = 0;
    for (const [i, root] of open.entries()) {
      session.terminal.progress(`copying ${root.what}, ${i + 1} of ${open.length}`);
      const result = await (target instanceof PinningService
        ? askFor(target, root)
        : copyRoot(finderOf(session), target, root.cid));
      copied += result.copied;
      for (const cid of result.missing) missing.push(cid);
      // A crash before this line copies the anchor once more, which changes nothing.
      if (result.missing.length === 0) markDone.run(target.name, digestOfCid(root.cid));
    }
    return {
      data: {
        target: target.name,
        roots: open.length,
        alreadyThere: roots.length - open.length,
        blocks: copied,
        missing,
      },
      text: [
        `copied ${plural(copied, "block")} of ${plural(open.length, "root")} to ${target.name}; ${roots.length - open.length} were there`,
        ...missing.slice(0, MAX_NAMED).map((cid) => `  nobody has ${cid}`),
      ].join("\n"),
      ...(missing.length > 0 && {
        error: new DmtpError(
          "CONTENT_MISSING",
          `${plural(missing.length, "block")} that nobody has could not be copied`,
        ),
      }),
    };
  } finally {
    done.close();
    await target.close();
  }
}

/** `pinning+https://…` is a Pinning Service API endpoint, any other URL a Kubo's. */
function openTarget({ environment }: Session, url: string): KuboStore | PinningService {
  const pinning = /^pinning\+(https?:.*)$/i.exec(url)?.[1];
  if (pinning !== undefined && URL.canParse(pinning)) {
    return new PinningService(new URL(pinning), { token: environment.pinningToken });
  }
  const kubo = url.replace(/^kubo\+/i, "");
  const api = environment.ipfsApis.find((each) => URL.canParse(kubo) && each.url.href === new URL(kubo).href);
  if (/^https?:/i.test(kubo) && URL.canParse(kubo))
    return new KuboStore(new URL(kubo), { headers: api?.headers ?? {} });
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

/** The manifests that are on chain, and the documents of all keys. What is anchored and no manifest of ours is nobody's to keep. */
async function anchoredRoots({ reader, content, terminal }: Session): Promise<Root[]> {
  const { events } = await reader.allEvents();
  const roots: Root[] = [];
  for (const event of events) {
    if (event.kind === "key") roots.push({ cid: cidOfDigest(event.document), what: "a key document" });
    if (event.kind !== "anchor" || event.cid === null) continue;
    terminal.progress(`reading anchor ${event.index}`);
    const bytes = await content.get(event.cid);
    if (bytes === null || manifestIn(bytes) !== null) roots.push({ cid: event.cid, what: `anchor ${event.index}` });
  }
  return roots;
}

async function examine({ terminal }: Session, store: ContentStore, roots: readonly Root[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  const pinned = await store.isPinned(roots.map(({ cid }) => cid));
  for (const [i, { cid, what }] of roots.entries()) {
    terminal.progress(`${store.name}: ${what}, ${i + 1} of ${roots.length}`);
    const missing = await store.missing([cid], MAX_NAMED);
    const isPinned = pinned[i] === true;
    if (!isPinned || missing.length > 0)
      findings.push({ store: store.name, root: cid, what, pinned: isPinned, missing });
  }
  return findings;
}

/** Of any source, or of the mailbox. */
function finderOf({ content, mailbox }: Session): FindBlock {
  return async (cid) => mailbox.block(cid) ?? (await content.get(cid));
}

function storesOf(content: ContentStore): readonly ContentStore[] {
  return content instanceof ReplicatedStore ? content.replicas : [content];
}
