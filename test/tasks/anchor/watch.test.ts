import { expect } from "chai";

import { GWEI } from "../../../io/chain/transactions/amount.ts";
import { DmtpError } from "../../../protocol/error.ts";
import { DEFAULT_OPTIONS, type AnchorOptions } from "../../../tasks/anchor-options.ts";
import { watchRounds, type RoundLine } from "../../../tasks/anchor-watch.ts";
import type { Session } from "../../../tasks/session.ts";
import { Operator } from "../../fixtures/operator.ts";
import { codeOfAsync } from "../../fixtures/refusal.ts";

const INTERVAL_MS = 600_000;

describe("Anchoring as a service", () => {
  let operator: Operator;

  before(async () => {
    operator = await Operator.start();
  });
  after(() => operator.stop());

  /** Runs rounds; `between` is called in each pause with its number, and ends the service when it returns true. */
  async function watch(
    between: (round: number, session: Session) => Promise<boolean>,
    {
      open = () => operator.open(),
      options = DEFAULT_OPTIONS,
    }: { open?: () => Promise<Session>; options?: AnchorOptions } = {},
  ): Promise<{ lines: RoundLine[]; pauses: number[] }> {
    const ending = new AbortController();
    const lines: RoundLine[] = [];
    const pauses: number[] = [];
    const mailbox = await operator.open();
    await watchRounds(options, INTERVAL_MS, ending.signal, {
      open,
      log: (line) => lines.push(line),
      pause: async (ms) => {
        pauses.push(ms);
        if (await between(pauses.length, mailbox)) ending.abort();
      },
      elapsedMs: () => performance.now(),
    });
    await mailbox.close();
    return { lines, pauses };
  }

  it("writes a line for each round, anchors what came in between, and ends when it is told to", async () => {
    const sent: string[] = [];
    const { lines, pauses } = await watch(async (round, session) => {
      if (round === 1) sent.push(...(await operator.send(session, 2)));
      return round === 3;
    });
    expect(lines.map(({ event }) => event)).to.deep.equal(["idle", "anchored", "idle", "stopped"]);
    expect(lines[1]).to.have.nested.property("anchors[0].messages", 2);
    expect(JSON.parse(JSON.stringify(lines))).to.deep.equal(lines);
    expect(pauses).to.deep.equal([INTERVAL_MS, INTERVAL_MS, INTERVAL_MS]);
    expect(await operator.anchoredCids()).to.deep.equal(sent);
  });

  it("outlives whatever goes wrong, with pauses that double, and is back at once when it has passed", async () => {
    let isDown = false;
    const { lines, pauses } = await watch(
      async (round, session) => {
        if (round === 1) {
          isDown = true;
          await operator.send(session, 1);
        }
        if (round === 10) isDown = false;
        return round === 11;
      },
      {
        open: () =>
          isDown ? Promise.reject(new DmtpError("CHAIN_UNREACHABLE", "no connection (ECONNREFUSED)")) : operator.open(),
      },
    );
    expect(lines.map(({ event }) => event)).to.deep.equal([
      "idle",
      ...Array.from({ length: 9 }, () => "failed"),
      ...["anchored", "stopped"],
    ]);
    expect(lines[1]).to.include({ code: "CHAIN_UNREACHABLE", kind: "unavailable", failures: 1, retryInS: 5 });
    expect(pauses.slice(1, 10)).to.deep.equal([5, 10, 20, 40, 80, 160, 320, 600, 600].map((s) => s * 1_000));
    expect(pauses.at(-1)).to.equal(INTERVAL_MS);
  });

  it("writes one short line whatever a node says", async () => {
    const said = `no\n{"event":"anchored"}\u001b[2J${"A".repeat(5_000_000)}`;
    let rounds = 0;
    const { lines } = await watch((round) => Promise.resolve(round === 2), {
      open: () => (rounds++ === 0 ? operator.open() : Promise.reject(new DmtpError("CHAIN_UNREACHABLE", said))),
    });
    expect(lines[1]).to.include({ event: "failed", code: "CHAIN_UNREACHABLE" });
    expect(String(lines[1]?.["message"])).to.match(/^no\\u\{a\}\{"event"/);
    expect(JSON.stringify(lines[1]).length).to.be.lessThan(2_000);
  });

  it("outlives errors that only a person can mend, once it has run", async () => {
    for (const code of ["NOT_ANCHORER", "FUNDS_INSUFFICIENT", "DATABASE_DAMAGED", "INTERNAL"] as const) {
      let rounds = 0;
      const { lines } = await watch((round) => Promise.resolve(round === 2), {
        open: () => (rounds++ === 0 ? operator.open() : Promise.reject(new DmtpError(code, "because"))),
      });
      expect(
        lines.map(({ event }) => event),
        code,
      ).to.deep.equal(["idle", "failed", "stopped"]);
    }
  });

  it("does not start with a configuration that cannot work, and waits for funds from the start", async () => {
    const start = (code: "CONTRACT_MISSING" | "FUNDS_INSUFFICIENT") =>
      codeOfAsync(() =>
        watch(() => Promise.resolve(true), { open: () => Promise.reject(new DmtpError(code, "because")) }),
      );
    expect(await start("CONTRACT_MISSING")).to.equal("CONTRACT_MISSING");
    expect(await start("FUNDS_INSUFFICIENT")).to.equal(null);
  });

  it("pays no more than it may, says so each round, and anchors when fees have come down", async () => {
    const base = (gwei: bigint) => operator.dev("anvil_setNextBlockBaseFeePerGas", `0x${(gwei * GWEI).toString(16)}`);
    const options = { ...DEFAULT_OPTIONS, limits: { ...DEFAULT_OPTIONS.limits, maxFeePerGas: 50n * GWEI } };
    const { lines } = await watch(
      async (round, session) => {
        if (round === 1) await operator.send(session, 1);
        await base(round < 4 ? 300n : 20n);
        await operator.mine();
        return round === 5;
      },
      { options },
    );
    expect(lines.map(({ event, code }) => code ?? event)).to.deep.equal([
      "idle",
      ...["FEE_TOO_HIGH", "FEE_TOO_HIGH", "FEE_TOO_HIGH", "anchored", "stopped"],
    ]);
  });
});
