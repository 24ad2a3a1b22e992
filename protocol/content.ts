/** The plaintext of a message: a media type and a body (SPEC 6.1). What replies and attachments will be is a media type. */
import { utf8 } from "./bytes.ts";
import { mapOf, type CborValue } from "./cbor.ts";
import { decode } from "./cbor-decoder.ts";
import { encodeBlock } from "./cbor-encoder.ts";
import { DmtpError } from "./error.ts";
import { Fields, requireBytes } from "./fields.ts";

export interface Content {
  /** An RFC 6838 media type without parameters, lower-case; a text is `text/plain` in UTF-8. */
  readonly type: string;
  readonly body: Uint8Array;
}

export const MAX_BODY_BYTES = 524_288;
const MAX_TYPE_LENGTH = 127;
const MEDIA_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]*\/[a-z0-9][a-z0-9!#$&^_.+-]*$/;
const CODE = "CONTENT_MALFORMED";
const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A text as content. NUL, markup and direction marks pass unchanged: what is sent is what is read.
 * @throws TEXT_EMPTY, TEXT_NOT_UNICODE (a lone surrogate), TEXT_TOO_LONG
 */
export function contentOfText(text: string): Content {
  if (text === "") throw new DmtpError("TEXT_EMPTY", "the message is empty");
  if (!text.isWellFormed()) throw new DmtpError("TEXT_NOT_UNICODE", "the text is not well-formed Unicode");
  const body = utf8(text);
  if (body.length > MAX_BODY_BYTES) {
    throw new DmtpError("TEXT_TOO_LONG", `the message has ${body.length} bytes, at most ${MAX_BODY_BYTES} are allowed`);
  }
  return { type: "text/plain", body };
}

/** The text of `text/plain` content; null for another type or for bytes that are not UTF-8. */
export function textOfContent(content: Content): string | null {
  if (content.type !== "text/plain") return null;
  try {
    return utf8Decoder.decode(content.body);
  } catch {
    return null;
  }
}

/** @throws CONTENT_MALFORMED for what {@link decodeContent} would refuse */
export function encodeContent({ type, body }: Content): Uint8Array {
  checkContent(type, body);
  return encodeBlock(mapOf({ type, body }));
}

/** @throws CONTENT_MALFORMED */
export function decodeContent(bytes: Uint8Array): Content {
  let value: CborValue;
  try {
    value = decode(bytes);
  } catch (cause) {
    throw new DmtpError(CODE, "the plaintext is not a block", { cause });
  }
  const fields = new Fields(value, ["type", "body"], CODE, null);
  const content = { type: fields.text("type"), body: fields.bytes("body") };
  checkContent(content.type, content.body);
  return content;
}

function checkContent(type: string, body: Uint8Array): void {
  if (type.length > MAX_TYPE_LENGTH || !MEDIA_TYPE.test(type)) throw new DmtpError(CODE, "type is not a media type");
  if (requireBytes(body, undefined, CODE, "body").length > MAX_BODY_BYTES) {
    throw new DmtpError(CODE, `body has ${body.length} bytes, at most ${MAX_BODY_BYTES} are allowed`);
  }
}
