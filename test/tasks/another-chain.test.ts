import { join } from "node:path";

import { expect } from "chai";

import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { ChainClient } from "../../io/chain/client.ts";
import type { Address } from "../../protocol/address.ts";
import { contentOfText } from "../../protocol/content.ts";
import { DmtpError } from "../../protocol/error.ts";
import { deployLocally, type LocalDeployment } from "../../scripts/local-deployment.ts";
import { anchor } from "../../tasks/anchor.ts";
import { DEFAULT_OPTIONS } from "../../tasks/anchor-options.ts";
import { history } from "../../tasks/history.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { status } from "../../tasks/status.ts";
import { startChain, type Chain } from "../fixtures/chain.ts";
import { useFolder } from "../fixtures/folder.ts";

const HELLO = contentOfText("hello");

describe("A mailbox on another chain with the same id and the same addresses", function () {
  this.timeout(60_000);
  const folder = useFolder();
  const chains: Chain[] = [];

  afterEach(async () => {
    for (const chain of chains.splice(0)) await chain.stop();
  });

  const start = async (...args: string[]): Promise<Chain> => {
    const chain = await startChain({ args });
    chains.push(chain);
    return chain;
  };

  /** Alice and Bob have keys, and a message to Bob waits. */
  async function write({ open, accounts }: LocalDeployment): Promise<void> {
    const [, alice, bob] = accounts as [Address, Address, Address];
    const session = open();
    for (const wallet of [alice, bob]) await register(session, wallet);
    await send(session, alice, [{ to: bob, content: HELLO }]);
    await session.close();
  }

  /** That every command on the mailbox ends with DATABASE_FOREIGN and says what to do, and none pays. */
  async function expectRefusal(open: () => Session, accounts: readonly Address[]): Promise<void> {
    const [, alice, bob] = accounts as [Address, Address, Address];
    const commands: ((session: Session) => Promise<unknown>)[] = [
      (session) => anchor(session, DEFAULT_OPTIONS),
      (session) => send(session, alice, [{ to: bob, content: HELLO }]),
      (session) => history(session, alice, bob),
      (session) => status(session),
    ];
    for (const run of commands) {
      const session = open();
      const error = await run(session).catch((thrown: unknown) => thrown);
      const { count } = await session.reader.entryHead();
      await session.close();
      expect(error).to.be.instanceOf(DmtpError).and.to.have.property("code", "DATABASE_FOREIGN");
      expect((error as DmtpError).hint).to.match(/use another DMTP_DATA_DIR/i);
      expect(count).to.equal(0);
    }
  }

  /** The same deployment, by the node at this URL. */
  async function openAt(url: string, { open }: LocalDeployment): Promise<() => Session> {
    const rpc = httpRpc(url);
    const { deployment } = open();
    const reader = await ChainClient.open([rpc], deployment);
    return () => open({ rpc, reader });
  }

  it("is refused on a local chain that was started again", async () => {
    const first = await deployLocally((await start("--timestamp", "1700000000")).url, folder(), () => undefined);
    await write(first);
    const again = await deployLocally((await start("--timestamp", "1700001000")).url, folder(), () => undefined);
    expect(again.open().deployment).to.deep.equal(first.open().deployment);
    await expectRefusal(again.open, again.accounts);
  });

  it("is refused on a fork for a rehearsal, and that of the rehearsal on the chain itself and on the next fork", async () => {
    const chain = await start();
    const own = await deployLocally(chain.url, join(folder(), "own"), () => undefined);
    await write(own);
    const fork = (): Promise<Chain> => start("--fork-url", chain.url, "--no-storage-caching");
    const openFork = await openAt((await fork()).url, own);
    await expectRefusal(openFork, own.accounts);

    const before = own.open();
    const environment = { ...before.environment, dataDir: join(folder(), "rehearsal") };
    const elsewhere = { content: before.content, environment };
    const [, alice, bob] = own.accounts as [Address, Address, Address];
    const rehearsal = openFork();
    const session = own.open({ ...elsewhere, rpc: rehearsal.rpc, reader: rehearsal.reader });
    await send(session, alice, [{ to: bob, content: HELLO }]);
    await session.close();
    await expectRefusal(() => own.open(elsewhere), own.accounts);
    const { rpc, reader } = (await openAt((await fork()).url, own))();
    await expectRefusal(() => own.open({ ...elsewhere, rpc, reader }), own.accounts);
    await before.close();
  });
});
