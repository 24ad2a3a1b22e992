import { resolve } from "node:path";

import { ArchiveFile } from "../io/archive-file.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { keyDocumentIn } from "../protocol/key-document.ts";
import type { Block } from "../protocol/manifest.ts";
import { requireDeployment } from "./archive-deployment.ts";
import { auditArchive } from "./audit.ts";
import { command, type Outcome } from "./command.ts";
import { copyRoot } from "./copy-root.ts";
import { keepIn } from "./key-documents.ts";
import type { Session } from "./session.ts";
import { keepHeapSmall } from "./small-heap.ts";
import { plural } from "./terminal.ts";

interface ImportArguments {
  readonly file: string | undefined;
  readonly json: boolean;
}

export default command<ImportArguments>((session, { file }) => {
  if (file === undefined)
    throw new DmtpError("OPTION_INVALID", "no file to read", { hint: "Give a path: import FILE." });
  keepHeapSmall();
  return importHistory(session, resolve(file));
});

/**
 * Puts an archive's blocks into the content store, once all of it is verified: each block by its hash, the file as a whole, what it
 * says of the chain against the chain, and the history by a replay. A file that is imported again changes nothing.
 * @throws ARCHIVE_MALFORMED, ARCHIVE_UNTRUE, CAR_MALFORMED, and what reading the chain and writing the store throw
 */
export async function importHistory(session: Session, path: string): Promise<Outcome> {
  const { terminal, deployment, content } = session;
  const file = await ArchiveFile.open(path, (blocks) => terminal.progress(`looked at ${plural(blocks, "block")}`));
  try {
    requireDeployment(file.name, file.subject.deployment, deployment);
    file.compareWithChain((await session.reader.allEvents()).events);
    const { data, text, error } = await auditArchive(file, terminal, { isCompared: true });
    const find = (cid: Cid): Promise<Uint8Array | null> => file.get(cid);
    let put = 0;
    for await (const { cid, bytes } of documentsOf(file)) {
      // A document stands by itself: whatever it might link to is not asked for.
      const [absent] = await content.missing([cid], 1, { isFollowing: false });
      if (absent === undefined) continue;
      await keepIn(content)(cid, bytes);
      put += 1;
    }
    for await (const root of manifestsOf(file)) {
      terminal.progress(`importing ${root}`);
      const [first] = await content.missing([root], 1);
      // Nothing is missing: it was imported before.
      if (first === undefined) continue;
      const { copied, left } = await copyRoot(find, content, root);
      // Without the anchors of which a part of a history lacks messages, nothing of it could be replayed.
      await content.put(left);
      put += copied + (first === root ? left.length : 0);
    }
    return {
      data: { ...data, put },
      text: [text, `put ${plural(put, "block")} into ${content.name}`].join("\n"),
      ...(error !== undefined && { error }),
    };
  } finally {
    await file.close();
  }
}

async function* manifestsOf(file: ArchiveFile): AsyncGenerator<Cid> {
  const cids = new Set<Cid>();
  for (const event of file.subject.events) if (event.kind === "anchor" && event.cid !== null) cids.add(event.cid);
  for (const cid of cids) if ((await file.get(cid)) !== null) yield cid;
}

/** The key documents that the file has: those that read as one. */
async function* documentsOf(file: ArchiveFile): AsyncGenerator<Block> {
  const cids = new Set<Cid>();
  for (const event of file.subject.events) if (event.kind === "key") cids.add(cidOfDigest(event.document));
  for (const cid of cids) {
    const bytes = await file.get(cid);
    if (bytes !== null && keyDocumentIn(bytes) !== null) yield { cid, bytes };
  }
}
