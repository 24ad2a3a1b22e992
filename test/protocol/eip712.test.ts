import { gunzipSync } from "node:zlib";

import { expect } from "chai";
import { SigningKey } from "ethers/crypto";
import { TypedDataEncoder } from "ethers/hash";
import { computeAddress, recoverAddress } from "ethers/transaction";
import { BaseWallet } from "ethers/wallet";
import fc from "fast-check";

import { parseAddress } from "../../protocol/address.ts";
import { bindingRequest, recoverSigner, revocationRequest, unlockRequest } from "../../protocol/binding.ts";
import { fromHex, toHex, type Hex } from "../../protocol/bytes.ts";
import { recoverAccount } from "../../protocol/crypto/ecdsa.ts";
import { encodeType, hashTypedData, type TypedData } from "../../protocol/eip712.ts";
import { ALICE, DEPLOYMENT } from "../fixtures/history.ts";
import { itWithVectorFile } from "../fixtures/vector-file.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

interface Eip712Case extends TypedData {
  readonly name: string;
  readonly data: TypedData["message"];
  readonly digest: Hex;
  readonly privateKey?: Hex;
  readonly signature?: Hex;
}

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const address = fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes) => parseAddress(toHex(bytes)));
const count = fc.maxSafeNat();
const deployment = fc.record({ chainId: count, cidStore: address, keyRegistry: address });

function expectDigestOfEthers({ domain, types, message }: TypedData): void {
  expect(toHex(hashTypedData({ domain, types, message }))).to.equal(TypedDataEncoder.hash(domain, types, message));
}

/** Typed data with one member, as a request that wants it in another shape has it. */
function oneMember(type: string, value: unknown): TypedData {
  return {
    domain: { name: "DMTP", version: "1", chainId: 137, verifyingContract: ALICE.address },
    types: { Values: [{ name: "value", type }] },
    message: { value } as TypedData["message"],
  };
}

describe("The EIP-712 digest", () => {
  it("of each request is that of ethers, whatever the values", () => {
    const binding = fc.record({
      wallet: address,
      version: count,
      encryptionKey: bytes32,
      signingKey: bytes32,
      document: bytes32,
      deadline: count,
    });
    fc.assert(
      fc.property(deployment, binding, bytes32, (place, values, salt) => {
        expectDigestOfEthers(bindingRequest(place, values));
        expectDigestOfEthers(revocationRequest(place, values.wallet, values.version, values.deadline));
        expectDigestOfEthers(unlockRequest(place, values.wallet, salt));
      }),
    );
  });

  it("is that of EIP-712's own example, and recovers its signer", () => {
    const person = (name: string, wallet: string): Record<string, string> => ({ name, wallet });
    const mail = {
      domain: {
        name: "Ether Mail",
        version: "1",
        chainId: 1,
        verifyingContract: "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
      },
      types: {
        Mail: [
          { name: "from", type: "Person" },
          { name: "to", type: "Person" },
          { name: "contents", type: "string" },
        ],
        Person: [
          { name: "name", type: "string" },
          { name: "wallet", type: "address" },
        ],
      },
      message: {
        from: person("Cow", "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"),
        to: person("Bob", "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"),
        contents: "Hello, Bob!",
      } as unknown as TypedData["message"],
    };
    expect(encodeType("Mail", mail.types)).to.equal(
      "Mail(Person from,Person to,string contents)Person(string name,address wallet)",
    );
    expect(toHex(hashTypedData(mail))).to.equal("0xbe609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2");
    const signature = fromHex(
      "0x4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b915621c",
    );
    expect(recoverSigner(mail, signature)).to.equal("0xcd2a3d9f938e13cd947ec05abc7fe734df8dd826");
  });

  itWithVectorFile("is that of ethers' 130 test cases", "eip712/typed-data.json.gz", (file) => {
    const cases = JSON.parse(gunzipSync(file).toString()) as Eip712Case[];
    expect(cases).to.have.length(130);
    for (const { name, domain, types, data, digest } of cases) {
      expect(toHex(hashTypedData({ domain, types, message: data })), name).to.equal(digest);
    }
    const signed = cases.filter(({ privateKey }) => privateKey !== undefined);
    expect(signed).to.have.length(1);
    for (const { domain, types, data, privateKey, signature } of signed) {
      const wallet = new BaseWallet(new SigningKey(privateKey!));
      const recovered = recoverSigner({ domain, types, message: data }, fromHex(signature!));
      expect(recovered).to.equal(wallet.address.toLowerCase());
    }
  });

  it("covers lists, nested or of a fixed length, and numbers of every size to their bounds", () => {
    const values: [type: string, value: unknown][] = [
      ["bool[2][]", [[true, false]]],
      ["bytes[]", ["0x", "0x00ff"]],
      ["string[0]", []],
      ["bytes1", "0xff"],
      ["uint8", 255],
      ["int8", -128],
      ["int8", 127n],
      ["uint256", (2n ** 256n - 1n).toString()],
      ["int256", (-(2n ** 255n)).toString()],
    ];
    for (const [type, value] of values) expectDigestOfEthers(oneMember(type, value));
  });

  it("is not made of a value that does not fit its type", () => {
    const misfits: [type: string, value: unknown][] = [
      ["uint8", 256],
      ["uint8", -1],
      ["int8", 128],
      ["int8", -129],
      ["uint256", 2n ** 256n],
      ["uint256", 0.5],
      ["uint256", 2 ** 53],
      ["uint256", ""],
      ["uint256", "0x01"],
      ["uint7", 1],
      ["uint264", 1],
      ["uint08", 1],
      ["uint", 1],
      ["bytes0", "0x"],
      ["bytes33", "0x"],
      ["bytes4", "0x00ffff"],
      ["bytes", "00"],
      ["address", "0x00"],
      ["address", 1],
      ["bool", 1],
      ["bool", "true"],
      ["string", 7],
      ["string[2]", ["one"]],
      ["string[]", "one"],
      ["Values", null],
      ["fixed128x18", 1],
      ["constructor", {}],
    ];
    for (const [type, value] of misfits) {
      expect(() => hashTypedData(oneMember(type, value)), `${type} ${String(value)}`).to.throw();
    }
    const request = unlockRequest(DEPLOYMENT, ALICE.address, fixedBytes("salt"));
    const { wallet } = request.message;
    expect(() => hashTypedData({ ...request, message: { wallet: wallet! } })).to.throw("without purpose");
    const [members] = Object.values(request.types);
    expect(() => hashTypedData({ ...request, types: { One: members!, Two: members! } })).to.throw("not exactly one");
  });
});

describe("An account", () => {
  it("is recovered as ethers does it, from signatures that somebody made and from those that nobody made", () => {
    fc.assert(
      fc.property(bytes32, bytes32, bytes32, fc.constantFrom(27, 28), (secret, digest, other, v) => {
        const key = new SigningKey(toHex(secret));
        const signature = fromHex(key.sign(digest).serialized);
        expect(recoverAccount(digest, signature)).to.equal(computeAddress(key).toLowerCase());
        const changed = signature.slice();
        changed.set(other);
        changed[64] = v;
        let expected: string | null = null;
        try {
          expected = recoverAddress(digest, toHex(changed)).toLowerCase();
        } catch {
          // About half of all numbers are no point's coordinate.
        }
        expect(recoverAccount(digest, changed)).to.equal(expected);
      }),
      { numRuns: 200 },
    );
  });

  it("is not recovered with v other than 27 or 28, or from another length", () => {
    const digest = fixedBytes("digest");
    const signature = fromHex(new SigningKey(ALICE.wallet.privateKey).sign(digest).serialized);
    expect(recoverAccount(digest, signature)).to.equal(ALICE.address);
    for (const v of [0, 1, 26, 29]) expect(recoverAccount(digest, signature.with(64, v))).to.equal(null);
    expect(recoverAccount(digest, signature.subarray(0, 64))).to.equal(null);
  });
});
