/** What has a CID: messages, and every block that the history names. */
import { messageAnswerSchema } from "../../client/api/rooms.ts";
import { DmtpError } from "../../protocol/error.ts";
import { readBlock, readPlacesOf, readVerifiedPlaceOf } from "../read/messages.ts";
import { cidParameter, includeParameter } from "../../http/parameters.ts";
import { route, unknown } from "./route.ts";

/** Places in the history that one message is shown at; honest operators list each once. */
const MAX_PLACES = 100;

export const message = route.json(
  {
    path: "/v1/messages/{cid}",
    summary: "One message by its CID",
    description: `The place where it counts is \`message\`; if it was listed at others, they are \`elsewhere\` (at most ${MAX_PLACES}).`,
    problems: [404],
    params: { cid: cidParameter },
    query: { include: includeParameter },
    body: messageAnswerSchema,
  },
  ({ snapshots }, { cid }, { include }) =>
    snapshots.read((snapshot) => {
      const places = readPlacesOf(snapshot, cid, MAX_PLACES + 1);
      // Anybody who anchors can list it in a hundred wrong rooms first.
      const best = readVerifiedPlaceOf(snapshot, cid) ?? places[0] ?? unknown("message");
      if (include) best.block = readBlock(snapshot, cid);
      const isOther = ({ anchorIndex, ordinal }: (typeof places)[number]): boolean =>
        anchorIndex !== best.anchorIndex || ordinal !== best.ordinal;
      return { at: snapshot.at, message: best, elsewhere: places.filter(isOther).slice(0, MAX_PLACES) };
    }),
);

export const block = route.block(
  {
    path: "/v1/blocks/{cid}",
    summary: "A block as it is on IPFS: envelope, manifest, shard, heads or key document",
    description: "404 for a block that the history does not name; 503 for one that it names and no source has now.",
    problems: [404, 503],
    params: { cid: cidParameter },
  },
  ({ snapshots }, { cid }) => {
    const { index } = snapshots;
    const bytes = index.block(cid);
    if (bytes !== undefined) return { cid, bytes };
    if (index.isMissing(cid)) throw new DmtpError("CONTENT_MISSING", "no content source has the block now");
    return unknown("block");
  },
);
