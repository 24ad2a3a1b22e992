import { expect } from "chai";

import { roomIdOf } from "../../protocol/room.ts";
import { RoomPolicy } from "../../protocol/room-policy.ts";
import { ALICE, BOB, CAROL, DEPLOYMENT } from "../fixtures/history.ts";

describe("What belongs to a room", () => {
  const policy = new RoomPolicy(DEPLOYMENT);
  const [alice, bob, carol] = [ALICE.address, BOB.address, CAROL.address];
  const room = roomIdOf(DEPLOYMENT, alice, bob);
  const foreign = roomIdOf(DEPLOYMENT, alice, carol);

  it("is an envelope between its two wallets, in either direction, that is listed there", () => {
    expect(policy.refuse({ sender: alice, receiver: bob, room }, room)).to.equal(null);
    expect(policy.refuse({ sender: bob, receiver: alice, room }, room)).to.equal(null);
  });

  it("is no other envelope, by the first rule that it breaks", () => {
    const codeOf = (header: Parameters<RoomPolicy["refuse"]>[0], listed = room) => policy.refuse(header, listed)?.code;
    expect(codeOf({ sender: alice, receiver: alice, room: foreign })).to.equal("SELF_ADDRESSED");
    expect(codeOf({ sender: alice, receiver: carol, room })).to.equal("ROOM_MISMATCH");
    expect(codeOf({ sender: alice, receiver: bob, room: foreign }, foreign)).to.equal("ROOM_MISMATCH");
    expect(codeOf({ sender: alice, receiver: bob, room }, foreign)).to.equal("FOREIGN_ROOM");
  });

  it("shows its members by parties that are its own, and by no others", () => {
    expect(policy.listMembers(room, { sender: alice, receiver: bob })).to.have.members([alice, bob]);
    expect(policy.listMembers(room, { sender: alice, receiver: carol })).to.deep.equal([]);
    expect(policy.listMembers(room, { sender: alice, receiver: alice })).to.deep.equal([]);
  });

  it("is, of a wallet, a room with each other one and none with itself", () => {
    expect([...policy.listRooms(alice, [bob, alice, carol, bob])]).to.deep.equal([room, foreign]);
  });
});
