/** Addresses and rooms that options give, with the option's name in what is wrong with them. */
import { parseAddress, type Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { parseRoomId, type RoomId } from "../protocol/room.ts";

/**
 * An address that an option gives.
 * @throws ADDRESS_INVALID that names the option
 */
export function parseAddressOption(option: string, text: string): Address {
  return namingOption(option, () => parseAddress(text));
}

/**
 * A room's id that an option gives.
 * @throws ROOM_ID_INVALID that names the option
 */
export function parseRoomOption(option: string, text: string): RoomId {
  return namingOption(option, () => parseRoomId(text));
}

function namingOption<T>(option: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof DmtpError)) throw error;
    throw new DmtpError(error.code, `${option}: ${error.message}`, { cause: error });
  }
}
