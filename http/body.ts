/** What requests bring: whole bodies, of a known type and size, as many at a time as there is memory for. */
import type { Request, Response } from "express";

import { DmtpError } from "../protocol/error.ts";
import type { Input } from "./route.ts";

/** Of all bodies that are under way, as their clients announce them. */
const MAX_BYTES = 64 * 1024 * 1024;
/** Of those of one client: whoever announces much and sends nothing keeps no other out. */
const MAX_CLIENT_BYTES = 8 * 1024 * 1024;

export class BodyReader {
  private bytes = 0;
  private readonly clients = new Map<string, number>();

  /**
   * Decides by the headers alone; of what is refused nothing is read.
   * @throws MEDIA_TYPE_WRONG, PARAMETER_INVALID without a length, BODY_TOO_LARGE, SERVICE_BUSY
   */
  check(request: Request, response: Response, { mediaType, maxBytes }: Input, client: string): void {
    const refuse = (error: DmtpError): never => {
      response.set("Connection", "close");
      throw error;
    };
    const { "content-type": type = "", "content-encoding": coding, "content-length": length } = request.headers;
    if (type.split(";")[0]?.trim().toLowerCase() !== mediaType || coding !== undefined) {
      refuse(new DmtpError("MEDIA_TYPE_WRONG", `what is brought here has the type ${mediaType}, and no coding`));
    }
    if (length === undefined || !/^[0-9]{1,15}$/.test(length)) {
      refuse(new DmtpError("PARAMETER_INVALID", "what is brought needs the header Content-Length"));
    }
    if (Number(length) > maxBytes) refuse(new DmtpError("BODY_TOO_LARGE", `at most ${maxBytes} bytes are taken`));
    const ofClient = (this.clients.get(client) ?? 0) + Number(length);
    if (ofClient > MAX_CLIENT_BYTES || this.bytes + Number(length) > MAX_BYTES) {
      refuse(new DmtpError("SERVICE_BUSY", "more is being brought than can be taken now"));
    }
  }

  /**
   * The whole body; who is slow is cut off by the server.
   * @throws PARAMETER_INVALID when it ends before its length
   */
  async read(request: Request, response: Response, { maxBytes }: Input, client: string): Promise<Uint8Array> {
    const length = Number(request.headers["content-length"]);
    this.count(client, length);
    try {
      // Node ends a body at its length, so that nothing longer can come.
      const bytes = new Uint8Array(Math.min(length, maxBytes));
      let at = 0;
      for await (const part of request as AsyncIterable<Uint8Array>) {
        bytes.set(part, at);
        at += part.length;
      }
      if (at === length) return bytes;
    } catch (cause) {
      response.set("Connection", "close");
      throw new DmtpError("PARAMETER_INVALID", "what was brought broke off", { cause });
    } finally {
      this.count(client, -length);
    }
    throw new DmtpError("PARAMETER_INVALID", "what was brought is shorter than it was announced");
  }

  private count(client: string, sizeBytes: number): void {
    this.bytes += sizeBytes;
    const ofClient = (this.clients.get(client) ?? 0) + sizeBytes;
    if (ofClient === 0) this.clients.delete(client);
    else this.clients.set(client, ofClient);
  }
}
