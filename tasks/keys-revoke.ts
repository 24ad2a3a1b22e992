import { formatPol } from "../io/chain/transactions/amount.ts";
import { revokeData } from "../io/chain/transactions/registry-call.ts";
import { checksummed, type Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { command, type Outcome } from "./command.ts";
import { parseLimits } from "./fee-options.ts";
import { parseAddressOption } from "./named-option.ts";
import { fromOption } from "./next-command.ts";
import {
  DEFAULT_PAYMENT,
  finishOpenCall,
  payForCall,
  withRegistryLock,
  type FinishedCall,
  type PaymentOptions,
} from "./registry-submission.ts";
import type { Session } from "./session.ts";
import { plural, table } from "./terminal.ts";

interface RevokeArguments {
  readonly from: string | undefined;
  readonly maxCost: string | undefined;
  readonly json: boolean;
}

export default command<RevokeArguments>((session, { from, maxCost }) =>
  revoke(session, from, { ...DEFAULT_PAYMENT, limits: parseLimits({ maxCost }) }),
);

/**
 * Revokes all keys of a wallet: what is anchored stays verified, and nothing that is signed with them is taken any more. A wallet whose keys
 * are revoked already pays nothing.
 * @throws SENDER_UNREGISTERED, ACCOUNT_UNKNOWN, and what {@link payForCall} throws
 */
export async function revoke(
  session: Session,
  from: string | undefined,
  options: PaymentOptions = DEFAULT_PAYMENT,
): Promise<Outcome> {
  const { address: wallet } = await session.account(
    from === undefined ? undefined : parseAddressOption("--from", from),
  );
  return withRegistryLock(session, async () => {
    const open = await finishOpenCall(session, wallet, options);
    const revoked = open?.call.kind === "revoke" ? open : await revokeAll(session, wallet, options);
    if (revoked === null) {
      return { data: { wallet: checksummed(wallet), revoked: false }, text: "nothing to revoke: all keys are revoked" };
    }
    const { event, transaction } = revoked;
    return {
      data: {
        wallet: checksummed(wallet),
        revoked: true,
        version: event.version,
        resumed: revoked === open,
        transactionHash: event.transactionHash,
        blockNumber: event.blockNumber,
        gasUsed: transaction?.gasUsed.toString() ?? null,
        costWei: transaction?.cost.toString() ?? null,
      },
      text: [
        `revoked all keys of ${checksummed(wallet)} up to version ${event.version - 1}${revoked === open ? ", which an earlier run began" : ""}`,
        table([
          ["transaction", event.transactionHash],
          ...(transaction === null ? [] : [["cost", `${formatPol(transaction.cost)} POL`] as const]),
        ]),
      ].join("\n"),
      next: `npx hardhat keys register${fromOption(wallet)}`,
    };
  });
}

/** Null when all keys are revoked already. Not for use without the lock. */
export async function revokeAll(
  session: Session,
  wallet: Address,
  options: PaymentOptions,
): Promise<FinishedCall | null> {
  const keys = await session.readKeys(wallet);
  const history = keys.history(wallet);
  if (history.length === 0) throw new DmtpError("SENDER_UNREGISTERED", `${checksummed(wallet)} has no DMTP key`);
  if (history.at(-1)?.event.kind === "revocation") return null;
  const waiting = session.mailbox.countWaiting(wallet);
  if (waiting > 0) {
    session.terminal.note(
      `warning: ${plural(waiting, "message")} of this wallet wait to be anchored, and are rejected when that is done after the revocation`,
    );
  }
  return payForCall(
    session,
    { wallet, kind: "revoke", version: history.length + 1, data: revokeData(), document: null, sealedWith: null },
    options,
  );
}
