import { expect } from "chai";
import { getAddress } from "ethers/address";
import fc from "fast-check";

import { addressOfBytes, bytesOfAddress, checksummed, parseAddress } from "../../protocol/address.ts";
import { fromHex, toHex, uint64 } from "../../protocol/bytes.ts";
import { codeOf } from "../fixtures/refusal.ts";

/** From EIP-55. */
const CHECKSUMMED = [
  "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
  "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
  "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
  "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
];

describe("Addresses", () => {
  it("are read with a checksum, or in one case, and shown with it", () => {
    for (const text of CHECKSUMMED) {
      const address = parseAddress(text);
      expect(address).to.equal(text.toLowerCase());
      expect(parseAddress(`0x${text.slice(2).toUpperCase()}`)).to.equal(address);
      expect(checksummed(address)).to.equal(text);
      expect(addressOfBytes(bytesOfAddress(address))).to.equal(address);
    }
  });

  it("are shown as ethers shows them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (bytes) => {
        const address = addressOfBytes(bytes);
        expect(checksummed(address)).to.equal(getAddress(address));
        expect(parseAddress(getAddress(address))).to.equal(address);
      }),
    );
  });

  it("are refused with a wrong checksum, another length, or anything but hexadecimal digits", () => {
    const [text = ""] = CHECKSUMMED;
    const refused = [
      text.replace("aA", "Aa"),
      text.slice(0, -1),
      `${text}0`,
      text.slice(2),
      `0X${text.slice(2)}`,
      ` ${text}`,
      `${text}\n`,
      "alice.eth",
      text.replace("5", "g"),
      "",
      null,
      7,
    ];
    for (const wrong of refused)
      expect(
        codeOf(() => parseAddress(wrong)),
        String(wrong),
      ).to.equal("ADDRESS_INVALID");
  });
});

describe("Bytes", () => {
  it("are read from hexadecimal digits, and nothing else", () => {
    expect(toHex(fromHex("0x00fFa5"))).to.equal("0x00ffa5");
    for (const wrong of ["", "00", "0x0", "0xgg", "0x00 "])
      expect(
        codeOf(() => fromHex(wrong)),
        wrong,
      ).to.equal("HEX_INVALID");
    expect(codeOf(() => fromHex("0x00", 2))).to.equal("HEX_INVALID");
  });

  it("hold integers of up to 2^53 - 1 as 8 big-endian bytes", () => {
    for (const value of [0, 1, 255, 2 ** 32 - 1, 2 ** 32, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER]) {
      expect(toHex(uint64(value))).to.equal(`0x${BigInt(value).toString(16).padStart(16, "0")}`);
    }
  });
});
