import { expect } from "chai";

import { bindingRequest } from "../../protocol/binding.ts";
import { fromHex, toHex } from "../../protocol/bytes.ts";
import type { KeyEvent, Position } from "../../protocol/event.ts";
import { KeyDirectory, verifyKey } from "../../protocol/keys.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { ALICE, BOB, DEPLOYMENT, History } from "../fixtures/history.ts";

function outcome(verdict: Verdict): string {
  return verdict.status === "rejected" ? verdict.code : verdict.status;
}

function directoryOf(history: History): KeyDirectory {
  const keys = new KeyDirectory(DEPLOYMENT);
  for (const event of history.events) if (event.kind !== "anchor") keys.add(event);
  return keys;
}

function at(blockNumber: number, logIndex = 0): Position {
  return { blockNumber, logIndex };
}

/** The identity, order 8, y of p, the field prime, x = 0 with its sign bit, and a point off the curve. */
const INADMISSIBLE_SIGNING = [
  `01${"00".repeat(31)}`,
  "00".repeat(32),
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`,
  `01${"00".repeat(30)}80`,
  `02${"00".repeat(31)}`,
];
/** 0, 1, p − 1, p, the two points of order 8, and a key with its top bit set. */
const INADMISSIBLE_ENCRYPTION = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  `09${"00".repeat(30)}80`,
];

describe("A registered key", () => {
  it("is verified by its wallet's signature", () => {
    const event = new History().register(ALICE);
    expect(verifyKey(DEPLOYMENT, event, false)).to.deep.include({
      binding: "signature",
      verdict: { status: "verified" },
    });
  });

  it("is rejected when its wallet has no code and did not sign it", () => {
    const event = new History().register(ALICE);
    const changes: Partial<KeyEvent>[] = [
      { signature: new Uint8Array(0) },
      { signature: BOB.wallet.sign(bindingRequest(DEPLOYMENT, { ...event, deadline: Number(event.deadline) })) },
      { deadline: event.deadline + 1n },
      { deadline: 2n ** 53n },
      { deadline: 2n ** 256n - 1n },
      { version: 2 },
      { document: new Uint8Array(32) },
      { wallet: BOB.address },
      { encryptionKey: BOB.identity().encryptionKey },
      { signingKey: BOB.identity().signingKey },
    ];
    for (const change of changes) {
      expect(outcome(verifyKey(DEPLOYMENT, { ...event, ...change }, false).verdict)).to.equal("BINDING_INVALID");
    }
    expect(outcome(verifyKey({ ...DEPLOYMENT, chainId: 1 }, event, false).verdict)).to.equal("BINDING_INVALID");
  });

  it("is verified by the chain when its wallet has code, and by the signature all the same where there is one", () => {
    const event = new History().register(ALICE, { hasCode: true });
    expect(verifyKey(DEPLOYMENT, event, false)).to.deep.include({
      binding: "signature",
      verdict: { status: "verified" },
    });
    for (const signature of [new Uint8Array(0), new Uint8Array(65), new Uint8Array(2048)]) {
      const found = verifyKey(DEPLOYMENT, { ...event, signature }, false);
      expect(found).to.deep.include({ binding: "chain", verdict: { status: "verified" } });
    }
  });

  it("is rejected without a signature once its wallet has signed one, whatever code the wallet is said to have", () => {
    const event = new History().register(ALICE, { hasCode: true });
    expect(verifyKey(DEPLOYMENT, event, true)).to.deep.include({
      binding: "signature",
      verdict: { status: "verified" },
    });
    for (const signature of [new Uint8Array(0), new Uint8Array(65), new Uint8Array(2048)]) {
      const { binding, verdict } = verifyKey(DEPLOYMENT, { ...event, signature }, true);
      expect([binding, outcome(verdict)]).to.deep.equal(["chain", "BINDING_INVALID"]);
    }
  });

  it("is rejected when it is no key that an honest wallet can make, signed or not, with code or without", () => {
    for (const hasCode of [false, true]) {
      for (const digits of INADMISSIBLE_ENCRYPTION) {
        const event = new History().register(ALICE, { encryptionKey: fromHex(`0x${digits}`), hasCode });
        expect(outcome(verifyKey(DEPLOYMENT, event, false).verdict), digits).to.equal("KEY_INADMISSIBLE");
        expect(outcome(verifyKey(DEPLOYMENT, { ...event, signature: new Uint8Array(0) }, false).verdict)).to.equal(
          "KEY_INADMISSIBLE",
        );
      }
      for (const digits of INADMISSIBLE_SIGNING) {
        const event = new History().register(ALICE, { signingKey: fromHex(`0x${digits}`), hasCode });
        expect(outcome(verifyKey(DEPLOYMENT, event, false).verdict), digits).to.equal("KEY_INADMISSIBLE");
      }
    }
  });
});

describe("A wallet's key history", () => {
  it("knows each version from just after its registration on", () => {
    const history = new History();
    const event = history.register(ALICE);
    const keys = directoryOf(history);
    const { blockNumber } = event;
    expect(keys.find(ALICE.address, 1, at(blockNumber - 1, 99)).status).to.equal("unknown");
    expect(keys.find(ALICE.address, 1, at(blockNumber, 0)).status).to.equal("unknown");
    expect(keys.find(ALICE.address, 1, at(blockNumber, 1)).status).to.equal("usable");
    expect(keys.find(ALICE.address, 1, at(blockNumber + 1)).status).to.equal("usable");
    expect(keys.find(ALICE.address, 0, at(1e9)).status).to.equal("unknown");
    expect(keys.find(ALICE.address, 2, at(1e9)).status).to.equal("unknown");
    expect(keys.find(BOB.address, 1, at(1e9)).status).to.equal("unknown");
  });

  it("keeps the old version usable when the key is rotated", () => {
    const history = new History();
    history.register(ALICE);
    history.register(ALICE);
    const keys = directoryOf(history);
    for (const version of [1, 2]) {
      const found = keys.find(ALICE.address, version, at(1e9));
      expect(found.status).to.equal("usable");
      if (found.status === "usable") {
        expect(toHex(found.key.event.signingKey)).to.equal(toHex(ALICE.identity(version).signingKey));
      }
    }
    expect(keys.current(ALICE.address)).to.deep.include({ status: "usable" });
    expect(keys.history(ALICE.address)).to.have.length(2);
  });

  it("revokes by a tombstone every earlier version from there on, and no later one", () => {
    const history = new History();
    history.register(ALICE);
    history.register(ALICE);
    const tombstone = history.revoke(ALICE);
    expect(directoryOf(history).current(ALICE.address).status).to.equal("revoked");
    history.register(ALICE);
    const keys = directoryOf(history);
    const { blockNumber } = tombstone;
    for (const version of [1, 2]) {
      expect(keys.find(ALICE.address, version, at(blockNumber)).status).to.equal("usable");
      expect(keys.find(ALICE.address, version, at(blockNumber, 1)).status).to.equal("revoked");
      expect(keys.find(ALICE.address, version, at(1e9)).status).to.equal("revoked");
    }
    expect(keys.find(ALICE.address, 3, at(1e9)).status).to.equal("unknown");
    expect(keys.find(ALICE.address, 4, at(1e9)).status).to.equal("usable");
    expect(keys.current(ALICE.address).status).to.equal("usable");
  });

  /** What a node shows that invents a key: the wallet has code, it says, and called the registry itself. */
  const INVENTED = { hasCode: true, signature: new Uint8Array(0) };

  function outcomes(history: History): string[] {
    return directoryOf(history)
      .history(ALICE.address)
      .map((entry) => ("verdict" in entry ? `${entry.binding} ${outcome(entry.verdict)}` : "tombstone"));
  }

  it("accepts only signed keys from the first signed one on, tombstones between them or not", () => {
    const history = new History();
    for (const change of [INVENTED, { hasCode: true }, INVENTED, {}]) history.register(ALICE, change);
    history.revoke(ALICE);
    history.register(ALICE, INVENTED);
    expect(directoryOf(history).current(ALICE.address).status).to.equal("rejected");
    history.register(ALICE, { hasCode: true });
    expect(outcomes(history)).to.deep.equal([
      "chain verified",
      "signature verified",
      "chain BINDING_INVALID",
      "signature verified",
      "tombstone",
      "chain BINDING_INVALID",
      "signature verified",
    ]);
    expect(directoryOf(history).current(ALICE.address).status).to.equal("usable");
  });

  it("is not bound to signatures by a key that is rejected, nor by the keys of another wallet", () => {
    const history = new History();
    history.register(BOB);
    history.register(ALICE, { signingKey: fromHex(`0x${INADMISSIBLE_SIGNING[0]!}`) });
    history.register(ALICE, { signature: new Uint8Array(0) });
    history.register(ALICE, INVENTED);
    expect(outcomes(history)).to.deep.equal(["signature KEY_INADMISSIBLE", "chain BINDING_INVALID", "chain verified"]);
  });

  it("says rejected rather than revoked of a key that never was valid", () => {
    const history = new History();
    history.register(ALICE, { signature: new Uint8Array(0) });
    expect(directoryOf(history).current(ALICE.address).status).to.equal("rejected");
    history.revoke(ALICE);
    const keys = directoryOf(history);
    expect(keys.find(ALICE.address, 1, at(1e9)).status).to.equal("rejected");
    expect(keys.current(ALICE.address).status).to.equal("revoked");
    expect(keys.current(BOB.address).status).to.equal("unknown");
  });
});
