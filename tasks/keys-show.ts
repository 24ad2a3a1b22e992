import { checksummed, type Address } from "../protocol/address.ts";
import { toHex } from "../protocol/bytes.ts";
import { cidOfDigest } from "../protocol/cid.ts";
import { verifyKeyDocument } from "../protocol/key-document.ts";
import { command, type Outcome } from "./command.ts";
import { parseAddressOption } from "./named-option.ts";
import type { Session } from "./session.ts";
import { formatVerdict, table } from "./terminal.ts";

interface ShowArguments {
  readonly wallet: string | undefined;
  readonly json: boolean;
}

export default command<ShowArguments>(async (session, { wallet }) =>
  showKeys(session, wallet === undefined ? (await session.signer()).address : parseAddressOption("--wallet", wallet)),
);

/** A wallet's keys and tombstones, each key with the verdict on it and on its document. */
async function showKeys(session: Session, wallet: Address): Promise<Outcome> {
  const keys = await session.readKeys(wallet);
  const lookup = keys.current(wallet);
  const current = lookup.status === "usable" ? lookup.key.event.version : null;
  const versions = [];
  const lines = [`${checksummed(wallet)} has ${keys.history(wallet).length === 0 ? "no DMTP key" : "these DMTP keys"}`];
  for (const entry of keys.history(wallet)) {
    const { event } = entry;
    const { version, blockNumber, transactionHash } = event;
    if (!("verdict" in entry)) {
      versions.push({ version, revoked: true, blockNumber, transactionHash });
      lines.push(`version ${version}: all earlier keys revoked, block ${blockNumber}`);
      continue;
    }
    const cid = cidOfDigest(entry.event.document);
    const document = verifyKeyDocument((await session.content.get(cid)) ?? undefined, session.deployment, entry.event);
    versions.push({
      version,
      verdict: entry.verdict,
      binding: entry.binding,
      encryptionKey: toHex(entry.event.encryptionKey),
      signingKey: toHex(entry.event.signingKey),
      document: { cid, verdict: document },
      blockNumber,
      transactionHash,
    });
    lines.push(
      `version ${version}: ${formatVerdict(entry.verdict)}${version === current ? ", the current one" : ""}`,
      table([
        [
          "bound by",
          entry.binding === "signature" ? "the wallet's signature" : "the registry's word for a contract wallet",
        ],
        ["document", `${cid}, ${formatVerdict(document)}`],
        ["registered", `block ${blockNumber}, transaction ${transactionHash}`],
      ]),
    );
  }
  return { data: { wallet: checksummed(wallet), current, versions }, text: lines.join("\n") };
}
