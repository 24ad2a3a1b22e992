import { fileURLToPath } from "node:url";

import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { asDmtpError, reportError } from "./command.ts";
import { promptOnStderr } from "./hardhat-prompts.ts";
import { runToEnd, serviceEnvironment } from "./service-process.ts";
import { openSession } from "./session.ts";
import { terminal } from "./terminal.ts";

const MAIN = fileURLToPath(new URL("../indexer/main.ts", import.meta.url));

/** Starts the indexer for the chosen network as a process of its own: the service has nothing of Hardhat in it. */
export default async function startIndexer(_args: object, hre: HardhatRuntimeEnvironment): Promise<void> {
  try {
    promptOnStderr(hre);
    const session = await openSession(hre, process.env, terminal);
    const variables = await serviceEnvironment(session, hre, process.env);
    await session.close();
    process.exitCode = await runToEnd(MAIN, variables);
  } catch (error) {
    reportError(asDmtpError(error), false);
  }
}
