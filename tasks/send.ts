import { composeMessages, type ComposedMessage, type NextNumber } from "../client/compose.ts";
import { findReceiver, findUnsigned, openOwnKey } from "../client/identity.ts";
import { walletOf } from "../io/chain/transactions/writer.ts";
import { checksummed, type Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import type { Party } from "../protocol/message.ts";
import type { RoomId } from "../protocol/room.ts";
import { asDmtpError, command, type Outcome } from "./command.ts";
import { readDrafts, type Draft, type DraftArguments } from "./draft.ts";
import { parseAddressOption } from "./named-option.ts";
import { fromOption } from "./next-command.ts";
import { openEachWay, readPassphrase } from "./passphrase.ts";
import { describeRepeat, findRepeats, refuseRepeats } from "./repeated-numbers.ts";
import type { Session } from "./session.ts";
import { plural, table } from "./terminal.ts";

interface SendArguments extends DraftArguments {
  readonly from: string | undefined;
  readonly passphrase: boolean;
  readonly acceptContractWallet: string | undefined;
  readonly acceptMissing: boolean;
  readonly retryMissing: boolean;
  readonly json: boolean;
}

export interface SendOptions {
  /** Receivers whose key is accepted on the nodes' word alone; kept for that key. */
  readonly acceptedContractWallets?: readonly Address[];
  /** Whether it sends although the next sequence number may be taken; kept for what is missing now in these rooms. */
  readonly acceptsMissing?: boolean;
  readonly retryMissing?: boolean;
}

export default command<SendArguments>(async (session, args) => {
  const drafts = await readDrafts(args);
  const passphrase = args.passphrase ? await readPassphrase(process.env) : undefined;
  return send(session, args.from, drafts, passphrase, {
    acceptedContractWallets: (args.acceptContractWallet?.split(",") ?? []).map((address) =>
      parseAddressOption("--accept-contract-wallet", address.trim()),
    ),
    acceptsMissing: args.acceptMissing,
    retryMissing: args.retryMissing,
  });
});

/**
 * Steps 2 to 7 of the flow. All receivers are checked before anything is sealed, and all messages are stored in one
 * transaction: either every one of them is sent, or none.
 */
export async function send(
  session: Session,
  from: string | undefined,
  drafts: readonly Draft[],
  passphrase?: string,
  { acceptedContractWallets = [], acceptsMissing = false, retryMissing = false }: SendOptions = {},
): Promise<Outcome> {
  const { deployment, content, mailbox, terminal, now, random } = session;
  const { signer, address: sender } = await session.signer(
    from === undefined ? undefined : parseAddressOption("--from", from),
  );
  const receivers = new Set(drafts.map(({ to }) => to));
  const keys = await session.readKeys(sender, ...receivers);
  const peers = await findReceivers(drafts, (receiver) => findReceiver(keys, deployment, content, sender, receiver));
  const unsigned = findUnsigned(keys, receivers, (key) => mailbox.hasAccepted(key), acceptedContractWallets);
  const opener = openEachWay(await walletOf(signer), passphrase);
  const own = await openOwnKey(keys, deployment, content, sender, opener).catch((error: unknown) => {
    throw namingSender(error, sender);
  });
  // A sequence number is only right when the mailbox knows all that this wallet has sent, from other machines too.
  const repeats = await findRepeats(session, own.event, receivers, session.finder(retryMissing));
  if (repeats.length > 0 && !acceptsMissing) throw refuseRepeats(repeats);

  const sealed = mailbox.transaction(() => {
    const next = (room: RoomId, sender: Address, version: number): NextNumber => ({
      seq: mailbox.nextSeq(room, sender, version),
      seen: mailbox.heads(room),
    });
    const messages = composeMessages(deployment, own, peers, drafts, { next, now, random });
    mailbox.add(messages);
    for (const key of unsigned) mailbox.acceptKey(key);
    for (const { room, anchorIndex } of repeats) mailbox.acceptMissing(room, anchorIndex);
    return messages;
  });
  for (const { wallet, version } of unsigned) warnOfUnsigned(session, wallet, version);
  for (const repeat of repeats) terminal.note(`warning[CONTENT_MISSING]: ${describeRepeat(repeat)}`);
  // From here on the messages are sent: the mailbox holds them. `pin` and `anchor` put a block again that is not here yet.
  const stored = await storeBlocks(session, sealed);

  const messages = sealed.map(({ cid, envelope }) => ({
    cid,
    room: envelope.room,
    receiver: checksummed(envelope.receiver),
    seq: envelope.seq,
    timestamp: envelope.timestamp,
  }));
  const [first] = messages;
  return {
    data: { sender: checksummed(sender), messages, stored },
    text:
      first !== undefined && messages.length === 1
        ? [
            `sent to ${first.receiver}`,
            table([
              ["room", first.room],
              ["message", `${first.seq} from you`],
              ["cid", first.cid],
            ]),
          ].join("\n")
        : `sent ${plural(messages.length, "message")} to ${plural(receivers.size, "receiver")}`,
    next: "npx hardhat anchor",
  };
}

/**
 * The keys of all receivers. Of a batch, whoever can't be written to is named with the lines, all at once.
 * @throws what `find` throws for one receiver
 */
async function findReceivers(
  drafts: readonly Draft[],
  find: (receiver: Address) => Promise<Party>,
): Promise<Map<Address, Party>> {
  const peers = new Map<Address, Party>();
  const refused = new Map<Address, DmtpError>();
  for (const { to, line } of drafts) {
    if (peers.has(to) || refused.has(to)) continue;
    try {
      peers.set(to, await find(to));
    } catch (error) {
      if (!(error instanceof DmtpError) || error.kind !== "input" || line === undefined) throw error;
      refused.set(to, error);
    }
  }
  const [first] = refused.values();
  if (first === undefined) return peers;
  const lines = [...refused].map(([wallet, { message }]) => {
    const places = drafts.filter(({ to }) => to === wallet).map(({ line }) => line);
    return `${message} (line ${formatSome(places, ", ")})`;
  });
  throw new DmtpError(first.code, formatSome(lines, "; "), { cause: first });
}

const MAX_SHOWN = 10;

function formatSome(all: readonly unknown[], separator: string): string {
  const rest = all.length - MAX_SHOWN;
  return `${all.slice(0, MAX_SHOWN).join(separator)}${rest > 0 ? ` and ${rest.toLocaleString("en")} more` : ""}`;
}

/** Who has no key is told how to make one with the same account. */
function namingSender(error: unknown, sender: Address): unknown {
  if (!(error instanceof DmtpError) || !["SENDER_UNREGISTERED", "SENDER_REVOKED"].includes(error.code)) return error;
  const hint = `Register a key first: npx hardhat keys register${fromOption(sender)}`;
  return new DmtpError(error.code, error.message, { cause: error, hint });
}

function warnOfUnsigned({ reader, terminal }: Session, wallet: Address, version: number): void {
  const who =
    reader.endpoints.length === 1
      ? "one node alone, which RPC_URL can name others beside,"
      : `${reader.endpoints.length} nodes`;
  terminal.note(
    `warning[RECEIVER_KEY_UNSIGNED]: key ${version} of ${checksummed(wallet)} is accepted from now on, on the word of ${who} that it is the key of a contract wallet`,
  );
}

async function storeBlocks({ content, terminal }: Session, sealed: readonly ComposedMessage[]): Promise<boolean> {
  try {
    await content.put(sealed.map(({ cid, block }) => ({ cid, bytes: block })));
    return true;
  } catch (error) {
    // Whatever it is, the messages are sent: an error here would make a person send them twice.
    const { code, message } = asDmtpError(error);
    terminal.note(`warning[${code}]: ${message}; the mailbox holds the messages, run: npx hardhat pin`);
    return false;
  }
}
