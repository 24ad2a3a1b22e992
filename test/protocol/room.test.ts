import { expect } from "chai";

import { concat, fromHex, toHex, utf8 } from "../../protocol/bytes.ts";
import { portable } from "../../protocol/crypto/portable.ts";
import { isRoomId, parseRoomId, roomIdOf } from "../../protocol/room.ts";
import { ALICE, BOB, CAROL, DEPLOYMENT } from "../fixtures/history.ts";
import { codeOf } from "../fixtures/refusal.ts";

describe("Room ids", () => {
  const room = roomIdOf(DEPLOYMENT, ALICE.address, BOB.address);

  it("are the same from both sides", () => {
    expect(roomIdOf(DEPLOYMENT, BOB.address, ALICE.address)).to.equal(room);
  });

  it("are the hash that the specification says", () => {
    const [low, high] = [ALICE.address, BOB.address].sort();
    const preimage = concat(
      utf8("DMTP/1 room\0"),
      fromHex("0x0000000000000089"),
      fromHex(DEPLOYMENT.keyRegistry),
      fromHex(low!),
      fromHex(high!),
    );
    expect(toHex(portable.sha256(preimage))).to.equal(room);
  });

  it("differ by wallet, by chain and by registry, and not by CIDStore", () => {
    const others = [
      roomIdOf(DEPLOYMENT, ALICE.address, CAROL.address),
      roomIdOf({ ...DEPLOYMENT, chainId: 80002 }, ALICE.address, BOB.address),
      roomIdOf({ ...DEPLOYMENT, keyRegistry: CAROL.address }, ALICE.address, BOB.address),
    ];
    expect(new Set([room, ...others]).size).to.equal(4);
    expect(roomIdOf({ ...DEPLOYMENT, cidStore: CAROL.address }, ALICE.address, BOB.address)).to.equal(room);
  });

  it("are read as 64 lower-case digits, and nothing else", () => {
    expect(parseRoomId(room)).to.equal(room);
    for (const wrong of [room.toUpperCase(), room.slice(0, -1), `${room}0`, `${room}\n`, room.slice(2), "", 7, null]) {
      expect(
        codeOf(() => parseRoomId(wrong)),
        String(wrong),
      ).to.equal("ROOM_ID_INVALID");
      expect(isRoomId(wrong)).to.equal(false);
    }
  });
});
