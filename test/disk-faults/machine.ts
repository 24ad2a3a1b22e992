/** A machine with the real data folder and content store on one chain: for the process under test, and for who looks after it. */
import { join } from "node:path";

import { Wallet } from "ethers/wallet";

import { LocalAccount, NodeAccount } from "../../io/chain/transactions/account.ts";
import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { ChainClient } from "../../io/chain/client.ts";
import { parseEnvironment } from "../../io/environment.ts";
import { parseAddress } from "../../protocol/address.ts";
import { Session } from "../../tasks/session.ts";
import type { Terminal } from "../../tasks/terminal.ts";

export interface Machine {
  readonly url: string;
  readonly cidStore: string;
  readonly keyRegistry: string;
  /** What DMTP_DATA_DIR names. */
  readonly folder: string;
}

/** A session as the command line opens it. @param payer the private key that signs and pays, or the address of an account of the node */
export async function openMachine(machine: Machine, payer: string, terminal: Terminal): Promise<Session> {
  const rpc = httpRpc(machine.url);
  const isKey = payer.length === "0x".length + 64;
  const addresses = { cidStore: parseAddress(machine.cidStore), keyRegistry: parseAddress(machine.keyRegistry) };
  return new Session({
    reader: await ChainClient.open([rpc], addresses),
    rpc,
    environment: parseEnvironment({ DMTP_DATA_DIR: machine.folder }),
    terminal,
    signers: () => Promise.resolve(isKey ? [new Wallet(payer)] : []),
    accounts: () => Promise.resolve([isKey ? new LocalAccount(payer) : new NodeAccount(parseAddress(payer))]),
  });
}

/** The databases in a deployment's data folder, whether they are there or not. */
export function databasesIn(data: string): string[] {
  return [join(data, "mailbox.sqlite"), join(data, "anchor.lock"), join(data, "blocks", "blocks.db")];
}

/** Every folder and file that a machine writes: SQLite keeps up to three beside a database. */
export function pathsIn(folder: string, data: string): string[] {
  const files = databasesIn(data).flatMap((path) => ["", "-wal", "-shm", "-journal"].map((suffix) => path + suffix));
  return [folder, data, join(data, "blocks"), ...files];
}
