/** Rooms and their messages, as the API answers. */
import { MAX_MEMBERS } from "../../protocol/room-policy.ts";
import { array, base64, boolean, describe, nullable, object, partialObject, type Value } from "./schema.ts";
import {
  addressSchema,
  bindingSchema,
  cidSchema,
  count,
  countsSchema,
  hashSchema,
  heightSchema,
  pageMembers,
  provenance,
  roomIdSchema,
  verdictSchema,
} from "./values.ts";

export const messageSchema = describe(
  partialObject(
    {
      cid: cidSchema,
      room: roomIdSchema,
      sender: nullable(addressSchema),
      receiver: nullable(addressSchema),
      senderKeyVersion: describe(nullable(count), "Of the key that it is signed with"),
      receiverKeyVersion: describe(nullable(count), "Of the key that it is sealed for"),
      seq: describe(nullable(count), "The sender's own count in the room under that key version"),
      timestamp: describe(nullable(count), "Milliseconds since 1970, by the sender's clock: a claim"),
      sizeBytes: nullable(count),
      binding: describe(
        nullable(bindingSchema),
        "Of the sender's key, at its anchor; null where there was no such key, or the room is another",
      ),
      verdict: verdictSchema,
      accounted: describe(
        boolean,
        "Whether its anchor is verified: only then do the room's count and root, and the state, account for it",
      ),
      anchorIndex: count,
      ordinal: describe(count, "8,192 times the number of its shard, plus its place in that"),
      ...provenance,
    },
    { block: describe(nullable(base64), "The envelope, with `include=block`; null while missing") },
  ),
  "One place in a room's history. Members that only the envelope says are null while it is missing, or none.",
  "Message",
);
export type MessageAnswer = Value<typeof messageSchema>;

/** What the state at the tip has of a room. */
const roomState = {
  n: describe(nullable(count), "Its messages at the tip; null when the tip does not have the room"),
  root: describe(nullable(hashSchema), "RFC 9162 root over them"),
  lastAnchor: describe(nullable(count), "The anchor that touched it last, at the tip"),
};
export const roomStateSchema = describe(
  object(roomState),
  "Of the height that the answer names, as everything in it",
  "RoomState",
);
export type RoomState = Value<typeof roomStateSchema>;

const room = {
  id: roomIdSchema,
  members: describe(array(addressSchema, MAX_MEMBERS), "Its two wallets, ascending; empty until a message names them"),
  counts: countsSchema,
  ...roomState,
};
export const roomSchema = describe(object(room), "A room, without what it lacks", "Room");
export type RoomAnswer = Value<typeof roomSchema>;

const sequenceNumber = describe(
  object({ sender: addressSchema, senderKeyVersion: count, seq: count }),
  "Each key version of a sender counts its messages in the room from 1",
  "SequenceNumber",
);
export const roomDetailSchema = describe(
  object({
    ...room,
    omissions: object({
      gaps: describe(
        array(sequenceNumber),
        "Numbers that no message has, below the highest of that key version; at most 100",
      ),
      forks: describe(array(sequenceNumber), "Numbers that more than one message has; at most 100"),
      unseen: describe(array(cidSchema), "Messages that a sender had seen and the room does not hold; at most 100"),
    }),
    lacks: object({
      messages: describe(array(cidSchema), "Its messages that no source has now; at most 100 are named"),
      anchors: describe(array(count), "Undecided anchors, which may list more messages of it; at most 100 are named"),
    }),
  }),
  "A room, and what is missing of it",
  "RoomDetail",
);

export type RoomDetailAnswer = Value<typeof roomDetailSchema>;

export const roomsPageSchema = object(pageMembers(roomSchema));
export const roomAnswerSchema = object({ at: heightSchema, room: roomDetailSchema });
export const messagesPageSchema = object({ ...pageMembers(messageSchema), room: roomStateSchema });
export const messageAnswerSchema = object({
  at: heightSchema,
  message: messageSchema,
  elsewhere: array(messageSchema),
});
