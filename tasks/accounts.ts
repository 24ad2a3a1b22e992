/** The chosen network's accounts, as its configuration gives them. */
import { HDNodeWallet, Mnemonic } from "ethers/wallet";
import type { NetworkConfig } from "hardhat/types/config";

import { LocalAccount, NodeAccount, type Account } from "../io/chain/transactions/account.ts";
import type { Rpc } from "../io/chain/rpc/rpc.ts";
import { parseAddress } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";

/**
 * With their keys where the configuration has them, so that a transaction can be signed and written down before a node gets it;
 * a node's own accounts (`accounts: "remote"`) sign there.
 * @throws CHAIN_UNREACHABLE, CONFIGURATION_INVALID
 */
export async function accountsOf({ accounts }: NetworkConfig, rpc: Rpc): Promise<Account[]> {
  if (accounts === "remote") {
    const answer = await rpc.request({ method: "eth_accounts", params: [] });
    return Array.isArray(answer) ? answer.map((address) => new NodeAccount(parseAddress(address))) : [];
  }
  if (Array.isArray(accounts)) {
    const keys = accounts.map((account) => ("privateKey" in account ? account.privateKey : account));
    const secrets = await Promise.all(keys.map((key) => key.getHexString()));
    return configured("an account of this network is no private key of 32 bytes", () =>
      secrets.map((secret) => new LocalAccount(secret)),
    );
  }
  const { mnemonic, passphrase, path, initialIndex, count } = accounts;
  const [words, secret] = [await mnemonic.get(), await passphrase.get()];
  return configured("the mnemonic or path of this network is none", () => {
    const parent = HDNodeWallet.fromMnemonic(Mnemonic.fromPhrase(words, secret), path);
    return Array.from({ length: count }, (_, i) => new LocalAccount(parent.deriveChild(initialIndex + i).privateKey));
  });
}

/** The reason that a library gives would hold the secret. */
function configured<T>(what: string, make: () => T): T {
  try {
    return make();
  } catch {
    throw new DmtpError("CONFIGURATION_INVALID", what);
  }
}
