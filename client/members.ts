/** Reads the members of a JSON answer, each by its type. What is not as documented is refused; what is new is left alone. */
import { parseAddress, type Address } from "../protocol/address.ts";
import type { Hex } from "../protocol/bytes.ts";
import { isCid, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { isRoomId, type RoomId } from "../protocol/room.ts";

export class Members {
  private readonly value: Readonly<Record<string, unknown>>;
  private readonly what: string;

  /** @throws ANSWER_MALFORMED */
  constructor(value: unknown, what: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(what);
    this.value = value as Readonly<Record<string, unknown>>;
    this.what = what;
  }

  /** Of any type; undefined when there is none. */
  get(name: string): unknown {
    return Object.hasOwn(this.value, name) ? this.value[name] : undefined;
  }

  count(name: string): number {
    const value = this.get(name);
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw this.malformed(name);
    return value as number;
  }

  flag(name: string): boolean {
    const value = this.get(name);
    if (typeof value !== "boolean") throw this.malformed(name);
    return value;
  }

  text(name: string): string {
    const value = this.get(name);
    if (typeof value !== "string") throw this.malformed(name);
    return value;
  }

  /** @param sizeBytes any number of bytes unless given */
  hex(name: string, sizeBytes?: number): Hex {
    const value = this.text(name);
    if (!/^0x(?:[0-9a-f]{2})*$/.test(value) || (sizeBytes !== undefined && value.length !== 2 + 2 * sizeBytes)) {
      throw this.malformed(name);
    }
    return value as Hex;
  }

  address(name: string): Address {
    return parseAddress(this.hex(name, 20));
  }

  room(name: string): RoomId {
    const value = this.get(name);
    if (!isRoomId(value)) throw this.malformed(name);
    return value;
  }

  cid(name: string): Cid {
    const value = this.get(name);
    if (!isCid(value)) throw this.malformed(name);
    return value;
  }

  oneOf<Choice extends string>(name: string, choices: readonly Choice[]): Choice {
    const value = this.get(name);
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw this.malformed(name);
    return found;
  }

  members(name: string): Members {
    return new Members(this.get(name), `${this.what}.${name}`);
  }

  list<Item>(name: string, read: (item: unknown) => Item): Item[] {
    const value = this.get(name);
    if (!Array.isArray(value)) throw this.malformed(name);
    return value.map(read);
  }

  /** What `read` gives, or null where the member is null. */
  nullable<Value>(name: string, read: (name: string) => Value): Value | null {
    return this.get(name) === null ? null : read(name);
  }

  private malformed(name: string): DmtpError {
    return malformed(`${this.what}.${name}`);
  }
}

function malformed(what: string): DmtpError {
  return new DmtpError("ANSWER_MALFORMED", `the indexer's answer is not as documented at ${what}`);
}
