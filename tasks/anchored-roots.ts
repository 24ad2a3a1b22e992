/** What is anchored: manifests with all that they link to, and key documents, which link to nothing. */
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import type { KeyEvent } from "../protocol/event.ts";
import { verifyKeyDocument } from "../protocol/key-document.ts";
import { manifestIn } from "../protocol/manifest.ts";
import type { Deployment } from "../protocol/room.ts";
import type { Session } from "./session.ts";

export interface Root {
  readonly cid: Cid;
  readonly what: string;
}

/** What somebody registered as a key document. Anybody can register the digest of anything, and of nothing. */
export interface DocumentRoot extends Root {
  readonly registrations: readonly KeyEvent[];
  /** Whether a wallet that is used on this machine registered it. */
  readonly isOwn: boolean;
}

export interface AnchoredRoots {
  readonly manifests: readonly Root[];
  readonly documents: readonly DocumentRoot[];
}

/** The manifests that are on chain, and the documents of all keys. What is anchored and no manifest is nobody's to keep. */
export async function readAnchoredRoots({ reader, content, terminal, mailbox }: Session): Promise<AnchoredRoots> {
  const { events } = await reader.allEvents();
  const own = new Set(mailbox.ownWallets());
  const manifests: Root[] = [];
  const registrations = new Map<Cid, KeyEvent[]>();
  for (const event of events) {
    if (event.kind === "key") {
      const cid = cidOfDigest(event.document);
      registrations.set(cid, [...(registrations.get(cid) ?? []), event]);
    }
    if (event.kind !== "anchor" || event.cid === null) continue;
    terminal.progress(`reading anchor ${event.index}`);
    const bytes = await content.get(event.cid);
    if (bytes === null || manifestIn(bytes) !== null) manifests.push({ cid: event.cid, what: `anchor ${event.index}` });
  }
  const documents = [...registrations].map(([cid, all]) => {
    return { cid, what: "a key document", registrations: all, isOwn: all.some(({ wallet }) => own.has(wallet)) };
  });
  return { manifests, documents };
}

/** Whether a block is the document that a registration speaks of: then it is small, and leads nowhere. */
export function isDocument({ registrations }: DocumentRoot, deployment: Deployment, block: Uint8Array): boolean {
  return registrations.some((event) => verifyKeyDocument(block, deployment, event).status === "verified");
}
