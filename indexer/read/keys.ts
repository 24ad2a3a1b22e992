import type { z } from "zod";

import type { Address } from "../../protocol/address.ts";
import type { keySchema } from "../answer.ts";
import { verdictOf, type ProvenanceColumns, type Slice, type Snapshot, type VerdictColumns } from "./snapshot.ts";

type KeyAnswer = z.infer<typeof keySchema>;

interface RevocationRow extends ProvenanceColumns {
  readonly kind: "revocation";
  readonly key_index: number;
  readonly version: number;
}

interface KeyRow extends Omit<RevocationRow, "kind">, VerdictColumns {
  readonly kind: "key";
  readonly encryption_key: string;
  readonly signing_key: string;
  readonly deadline: string;
  readonly binding: "signature" | "chain";
  readonly document: string;
  readonly document_status: string;
  readonly document_code: string | null;
  readonly document_reason: string | null;
}

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

function answerOf(snapshot: Snapshot, row: KeyRow | RevocationRow): KeyAnswer {
  const place = { index: row.key_index, version: row.version, ...snapshot.provenance(row) };
  if (row.kind === "revocation") return { kind: "revocation", ...place };
  return {
    kind: "key",
    ...place,
    encryptionKey: row.encryption_key,
    signingKey: row.signing_key,
    document: row.document,
    deadline: row.deadline,
    binding: row.binding,
    verdict: verdictOf(row),
    documentVerdict: verdictOf({ status: row.document_status, code: row.document_code, reason: row.document_reason }),
  };
}
