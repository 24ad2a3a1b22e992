/**
 * `anchor` or `send` with the sessions, results and exit codes of the command line, and without Hardhat, which takes seconds to
 * start. What it writes to disk is what the real command writes.
 *
 *     node command.ts anchor|send URL CID_STORE KEY_REGISTRY FOLDER PRIVATE_KEY_OR_ADDRESS [RECEIVER]
 */
import { parseAddress } from "../../protocol/address.ts";
import { contentOfText } from "../../protocol/content.ts";
import { anchor } from "../../tasks/anchor.ts";
import { conclude } from "../../tasks/command.ts";
import { send } from "../../tasks/send.ts";
import { terminal } from "../../tasks/terminal.ts";
import { openMachine } from "./machine.ts";

const [name, url = "", cidStore = "", keyRegistry = "", folder = "", payer = "", receiver = ""] = process.argv.slice(2);

await conclude(
  () => openMachine({ url, cidStore, keyRegistry, folder }, payer, terminal),
  (session) =>
    name === "anchor"
      ? anchor(session)
      : send(session, undefined, [
          { to: parseAddress(receiver), content: contentOfText("written while the disk fails") },
        ]),
  true,
);
