/** Rooms and their messages, as the API answers. */
import { MAX_MEMBERS } from "../../protocol/room-policy.ts";
import { array, base64, boolean, named, nullable, object, partialObject, type Value } from "./schema.ts";
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

export const messageSchema = named(
  partialObject(
    {
      cid: cidSchema,
      room: roomIdSchema,
      sender: nullable(addressSchema),
      receiver: nullable(addressSchema),
      senderKeyVersion: nullable(count),
      receiverKeyVersion: nullable(count),
      seq: nullable(count),
      timestamp: nullable(count),
      sizeBytes: nullable(count),
      binding: nullable(bindingSchema),
      verdict: verdictSchema,
      accounted: boolean,
      anchorIndex: count,
      ordinal: count,
      ...provenance,
    },
    { block: nullable(base64) },
  ),
  "Message",
);
export type MessageAnswer = Value<typeof messageSchema>;

/** What the state at the tip has of a room. */
const roomState = {
  n: nullable(count),
  root: nullable(hashSchema),
  lastAnchor: nullable(count),
};
export const roomStateSchema = named(object(roomState), "RoomState");
export type RoomState = Value<typeof roomStateSchema>;

const room = {
  id: roomIdSchema,
  members: array(addressSchema, MAX_MEMBERS),
  counts: countsSchema,
  ...roomState,
};
export const roomSchema = named(object(room), "Room");
export type RoomAnswer = Value<typeof roomSchema>;

const sequenceNumber = named(object({ sender: addressSchema, senderKeyVersion: count, seq: count }), "SequenceNumber");
export const roomDetailSchema = named(
  object({
    ...room,
    omissions: object({
      gaps: array(sequenceNumber),
      forks: array(sequenceNumber),
      unseen: array(cidSchema),
    }),
    lacks: object({
      messages: array(cidSchema),
      anchors: array(count),
    }),
  }),
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
