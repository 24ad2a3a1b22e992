import type { keySchema } from "../../client/api/chain.ts";
import type { Plain } from "../../client/api/schema.ts";
import type { Address } from "../../protocol/address.ts";
import type { KeyRow, RevocationRow } from "../store/key-rows.ts";
import { documentVerdictOfRow, verdictOfRow } from "../store/verdict-columns.ts";
import type { Slice, Snapshot } from "./snapshot.ts";

type KeyAnswer = Plain<typeof keySchema>;

/** A wallet's key versions and tombstones in chain order, behind the registry's event `after`. */
export function readKeys(snapshot: Snapshot, wallet: Address, after: number, limit: number): Slice<KeyAnswer> {
  const { items, hasMore } = snapshot.slice<KeyRow | RevocationRow>(
    limit,
    "SELECT * FROM keys WHERE wallet = ? AND key_index > ? ORDER BY key_index LIMIT ?",
    wallet,
    after,
  );
  return { items: items.map((row) => answerOf(snapshot, row)), hasMore };
}

/** One event of the registry, and whose it is; null for an index that the chain has not reached. */
export function readKey(snapshot: Snapshot, index: number): { wallet: Address; key: KeyAnswer } | null {
  const row = snapshot.get<KeyRow | RevocationRow>("SELECT * FROM keys WHERE key_index = ?", index);
  return row === undefined ? null : { wallet: row.wallet, key: answerOf(snapshot, row) };
}

function answerOf(snapshot: Snapshot, row: KeyRow | RevocationRow): KeyAnswer {
  const { key_index, version, log_index } = row;
  const place = { index: key_index, version, ...snapshot.provenance(row), logIndex: log_index };
  if (row.kind === "revocation") return { kind: "revocation", ...place };
  return {
    kind: "key",
    ...place,
    encryptionKey: row.encryption_key,
    signingKey: row.signing_key,
    document: row.document,
    deadline: row.deadline,
    signature: row.signature,
    hasCode: row.has_code === 1,
    binding: row.binding,
    verdict: verdictOfRow(row),
    documentVerdict: documentVerdictOfRow({
      status: row.document_status,
      code: row.document_code,
      reason: row.document_reason,
    }),
  };
}
