/**
 * What the next manifest may build on. A manifest that builds past an anchor which its reader can't read leaves out what that one lists:
 * that is a fork of the line, and is paid for all the same. So nobody does it without saying so.
 */
import type { Standing } from "../io/catch-up.ts";
import type { Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { AnchorEvent } from "../protocol/event.ts";
import type { ManifestDraft } from "../protocol/manifest.ts";
import { makeDraft, nextRow, putWhole } from "./anchor-draft.ts";
import type { AnchorOptions } from "./anchor-options.ts";
import type { Session } from "./session.ts";

/** How many anchors are named. */
const MAX_NAMED = 10;

/**
 * `ready`: it builds on the last anchor that there is, or past those that `--fork` gives up. `look again`: content may be there that was
 * missing at the last look.
 */
type BaseFinding = { readonly status: "ready"; readonly past: readonly number[] } | { readonly status: "look again" };

/** What this run knows already. */
interface BaseKnowledge {
  /** Whether all content was looked for just now. */
  readonly hasLooked: boolean;
  /** Manifests of anchors that are on the chain, of which this run stored the blocks. */
  readonly restored: Set<Cid>;
}

/**
 * Looks at what the next manifest would build on, before anything is planned or paid.
 * @throws CONTENT_MISSING when there are anchors above it whose content no source has, unless `--fork` was given
 */
export async function checkBase(
  session: Session,
  standing: Standing,
  options: AnchorOptions,
  { hasLooked, restored }: BaseKnowledge,
): Promise<BaseFinding> {
  const past = session.mailbox.anchors.missingAboveTip();
  const next = past.length === 0 ? null : rehearseDraft(session, standing, options);
  if (next === null) return { status: "ready", past: [] };
  const isRepetition = past.some(({ cid }) => cid === next.cid);
  if (isRepetition && !restored.has(next.cid)) {
    // An anchor of this mailbox that it has forgotten, as an old backup does: what it lists is what waits.
    await putWhole(session, next);
    restored.add(next.cid);
    return { status: "look again" };
  }
  if (!hasLooked) return { status: "look again" };
  if (!options.isFork || isRepetition) throw refuseBase(session, past);
  return { status: "ready", past: past.map(({ index }) => index) };
}

/** `anchor 3`, `anchors 3, 4 and 7` */
export function nameAnchors(indices: readonly number[]): string {
  const [first, ...others] = indices;
  if (first === undefined) return "no anchor";
  if (others.length === 0) return `anchor ${first}`;
  const rest = indices.length - MAX_NAMED;
  const named = rest > 0 ? indices.slice(0, MAX_NAMED) : indices.slice(0, -1);
  return `anchors ${named.join(", ")} and ${rest > 0 ? `${rest} more` : (indices.at(-1) ?? "")}`;
}

/** The manifest that would be made of what waits; null when nothing does, or when an earlier run has decided on it. */
function rehearseDraft(session: Session, standing: Standing, options: AnchorOptions): ManifestDraft | null {
  return session.mailbox.rehearse(() => {
    const known = session.mailbox.anchors.open().at(-1)?.id ?? 0;
    const row = nextRow(session, standing, options);
    return row === null || row.id <= known ? null : makeDraft(session, row);
  });
}

/** @param past anchors above the tip whose content no source has */
export function refuseBase({ mailbox }: Session, past: readonly AnchorEvent[]): DmtpError {
  const tip = mailbox.anchors.tipIndex();
  const base = tip === null ? "no anchor" : `anchor ${tip}`;
  const what = `the next manifest would build on ${base}, past ${nameAnchors(past.map(({ index }) => index))}, whose content no source has`;
  return new DmtpError("CONTENT_MISSING", what, {
    hint: "Name a source that has it (CONTENT_SOURCES), or start the node that pins it, and run the command again; to leave out for ever what these anchors list: --fork. Nothing was paid.",
  });
}
