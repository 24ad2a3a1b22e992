import { open, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { pipeline } from "node:stream/promises";

import { ArchiveExport } from "../io/archive.ts";
import { syncFolder } from "../io/durable-folder.ts";
import type { ArchiveScope } from "../protocol/archive.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { command, type Outcome } from "./command.ts";
import { parseAddressOption, parseRoomOption } from "./named-option.ts";
import { quoteForShell } from "./next-command.ts";
import type { Session } from "./session.ts";
import { keepHeapSmall } from "./small-heap.ts";
import { formatBytes, plural } from "./terminal.ts";

interface ExportArguments {
  readonly file: string | undefined;
  readonly room: string | undefined;
  readonly wallet: string | undefined;
  readonly since: string | undefined;
  readonly retryMissing: boolean;
  readonly json: boolean;
}

const MAX_SHOWN = 10;

export default command<ExportArguments>((session, { file, room, wallet, since, retryMissing }) => {
  if (file === undefined)
    throw new DmtpError("OPTION_INVALID", "no file to write", { hint: "Give a path: export FILE." });
  if (room !== undefined && wallet !== undefined)
    throw new DmtpError("OPTION_INVALID", "--room and --wallet are both given");
  if (since !== undefined && !/^\d{1,15}$/.test(since))
    throw new DmtpError("OPTION_INVALID", "--since takes an anchor's index");
  keepHeapSmall();
  const scope = {
    room: room === undefined ? null : parseRoomOption("--room", room),
    wallet: wallet === undefined ? null : parseAddressOption("--wallet", wallet),
    since: Number(since ?? 0),
  };
  return exportHistory(session, resolve(file), scope, retryMissing);
});

/** Writes an archive of what is anchored. Blocks that no source has are left out of it, named, and end it with 75. */
export async function exportHistory(
  session: Session,
  file: string,
  scope: ArchiveScope,
  retryMissing = false,
): Promise<Outcome> {
  const { deployment, terminal } = session;
  const { events } = await session.reader.allEvents();
  const archive = new ArchiveExport({ deployment, events, scope }, session.finder(retryMissing));
  const part = `${file}.${process.pid}.part`;
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of archive.bytes()) {
      terminal.progress(`wrote ${plural(archive.blocks, "block")}, ${formatBytes(archive.sizeBytes)}`);
      yield chunk;
    }
  };
  try {
    // What an earlier run left goes by its name: a link that somebody put there is taken away, and not followed.
    await rm(part, { force: true });
    const target = await open(part, "wx");
    await pipeline(chunks, target.createWriteStream({ flush: true }));
    // A crash before this leaves what was there by that name, and a part.
    await rename(part, file);
    syncFolder(dirname(file));
  } catch (cause) {
    await rm(part, { force: true });
    if (cause instanceof DmtpError) throw cause;
    throw new DmtpError(
      "FILE_UNWRITABLE",
      `${file} could not be written: ${cause instanceof Error ? cause.message : "an error"}`,
      {
        cause,
      },
    );
  }
  const { anchors, messages, documents, blocks, sizeBytes, missing, lacks } = archive;
  const missingDocuments = archive.missingDocuments.size;
  const own = ownDocuments(session, events).filter((cid) => archive.missingDocuments.has(cid));
  const gaps = missing + own.length;
  return {
    data: {
      ...{ file, scope, anchors, messages, documents, blocks, sizeBytes, missing, lacks, missingDocuments },
      ownMissingDocuments: own,
    },
    text: [
      `exported ${plural(messages, "message")}, ${plural(anchors, "anchor")} and ${plural(documents, "key document")} to ${file}, ${formatBytes(sizeBytes)}`,
      ...lacks.slice(0, MAX_SHOWN).map((cid) => `  nobody has ${cid}`),
      ...own.slice(0, MAX_SHOWN).map((cid) => `  nobody has ${cid}, a key document of your own`),
      ...(missingDocuments > own.length
        ? [`  ${plural(missingDocuments - own.length, "key document")} of others cannot be had, or is none`]
        : []),
    ].join("\n"),
    next: `npx hardhat audit --car ${quoteForShell(file)} --offline`,
    ...(gaps > 0 && {
      error: new DmtpError("HISTORY_INCOMPLETE", `${plural(gaps, "block")} not reachable, and not in the file`),
    }),
  };
}

/** What wallets that are used on this machine registered. */
function ownDocuments({ mailbox }: Session, events: readonly ChainEvent[]): Cid[] {
  const own = new Set(mailbox.ownWallets());
  const cids = new Set<Cid>();
  for (const event of events) if (event.kind === "key" && own.has(event.wallet)) cids.add(cidOfDigest(event.document));
  return [...cids];
}
