/**
 * `npx hardhat ignition deploy ignition/modules/DMTP.ts`, with the parameters looked at before anything is paid for.
 *
 * The default export is the action of an override of `ignition deploy` for hardhat.config.ts; other modules pass through it.
 */
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

import type { TaskOverrideActionFunction } from "hardhat/types/tasks";
import { z } from "zod";

import { checksummed, parseAddress, ZERO_ADDRESS, type Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { asDmtpError, reportError } from "../tasks/command.ts";
import { promptOnStderr } from "../tasks/hardhat-prompts.ts";
import { terminal } from "../tasks/terminal.ts";

/** What the parameters are held against. */
export interface Target {
  readonly chainId: number;
  /** Account 0 of the network. */
  readonly deployer: Address;
  readonly hasCode: (address: Address) => Promise<boolean>;
}

export interface Roles {
  readonly owner: Address;
  readonly anchorer: Address;
}

/** Hardhat's node and anvil. What is deployed there is tried out, not used. */
const LOCAL_CHAIN = 31337;

// Ignition takes no notice of a name that the module doesn't know: a slip in it would leave the default in force.
const parameterFile = z.strictObject({
  $global: z.strictObject({}).optional(),
  DMTP: z.strictObject({ owner: z.string().optional(), anchorer: z.string().optional() }),
});

/**
 * Who will own and who will anchor.
 * @param parameters the JSON document given by `--parameters`; undefined without one
 * @throws DEPLOYMENT_PARAMETER_INVALID
 */
export async function checkParameters(parameters: unknown, target: Target): Promise<Roles> {
  const parsed = parameterFile.safeParse(parameters ?? { DMTP: {} });
  if (!parsed.success) throw refusal(`the parameters are not as expected: ${z.prettifyError(parsed.error)}`);
  const given = parsed.data.DMTP;
  const roles: Roles = {
    owner: parseRole("owner", given.owner, target),
    anchorer: parseRole("anchorer", given.anchorer, target),
  };
  if (target.chainId === LOCAL_CHAIN) return roles;
  if (roles.owner === roles.anchorer) {
    throw refusal("owner and anchorer are the same: who steals the server's key would own the store");
  }
  if (await target.hasCode(roles.anchorer)) {
    throw refusal(`the anchorer ${checksummed(roles.anchorer)} is a contract, which can't run a schedule`);
  }
  return roles;
}

function parseRole(name: keyof Roles, text: string | undefined, { chainId, deployer }: Target): Address {
  if (text === undefined) {
    if (chainId === LOCAL_CHAIN) return deployer;
    throw refusal(`${name} is not given; only on a local chain it is the deployer by default`);
  }
  let address: Address;
  try {
    address = parseAddress(text);
  } catch (cause) {
    throw refusal(`${name} is no address: ${(cause as Error).message}`);
  }
  if (address === ZERO_ADDRESS) throw refusal(`${name} is the zero address`);
  return address;
}

function refusal(message: string): DmtpError {
  return new DmtpError("DEPLOYMENT_PARAMETER_INVALID", message);
}

const deploy: TaskOverrideActionFunction = async (args, hre, runSuper) => {
  if (basename(args.modulePath as string) !== "DMTP.ts") return (await runSuper(args)) as unknown;
  let roles: Roles;
  let target: Target;
  promptOnStderr(hre);
  try {
    const { provider } = await hre.network.create();
    const accounts = (await provider.request({ method: "eth_accounts" })) as readonly string[];
    if (accounts[0] === undefined) throw new DmtpError("ACCOUNT_UNKNOWN", "the network has no accounts");
    target = {
      chainId: Number(await provider.request({ method: "eth_chainId" })),
      deployer: parseAddress(accounts[0]),
      // An account that carries EIP-7702 code still has its key.
      hasCode: async (address) =>
        !/^0x(ef0100|$)/.test(
          (await provider.request({ method: "eth_getCode", params: [address, "latest"] })) as string,
        ),
    };
    roles = await checkParameters(await readParameters(args.parameters as string | undefined), target);
  } catch (error) {
    reportError(asDmtpError(error), false);
    return null;
  }
  const result: unknown = await runSuper(args);
  const isComplete = (result as { readonly type?: unknown } | null)?.type === "SUCCESSFUL_DEPLOYMENT";
  if (isComplete && roles.owner !== target.deployer) {
    const [owner, deployer] = [checksummed(roles.owner), checksummed(target.deployer)];
    const noCode = (await target.hasCode(roles.owner)) ? "" : ", an account without code on this chain";
    terminal.note(
      `CIDStore is offered to ${owner}${noCode}. Until it calls acceptOwnership(), ${deployer} owns it; ` +
        "npx hardhat status says how that stands.",
    );
  }
  return result;
};

/** As Ignition takes them: a file's path, or the JSON itself. */
async function readParameters(given: string | undefined): Promise<unknown> {
  if (given === undefined) return undefined;
  try {
    return JSON.parse(given.endsWith(".json") ? await readFile(given, "utf8") : given);
  } catch (cause) {
    throw new DmtpError("FILE_UNREADABLE", `the parameters ${given} can't be read as JSON`, { cause });
  }
}

export default deploy;
