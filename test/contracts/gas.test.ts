import { readFileSync, writeFileSync } from "node:fs";

import { expect } from "chai";
import type { Signer } from "ethers";
import { network } from "hardhat";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";

const { ethers } = await network.create();
const signers = await ethers.getSigners();
const deployer = signers[0]!;
const other = signers[1]!;

type Contract = Awaited<ReturnType<typeof ethers.deployContract>>;

/** What a call may cost at most: whole transactions, in the steady state. */
const LIMITS: Readonly<Record<string, bigint>> = {
  "CIDStore.anchor": 56_000n,
  "CIDStore.storeCID, canonical": 55_500n,
  "KeyRegistry.register": 106_200n,
  "KeyRegistry.registerFor": 110_000n,
};

const PAGE = new URL("../../docs/contracts.md", import.meta.url);
const TABLE = /(?<=<!-- gas -->\n)[^]*(?=\n<!-- \/gas -->)/;
const DAG_CBOR = 0x71;
const RAW = 0x55;
const SHA2_256 = 0x12;

const WALLET_VERSION = [
  { name: "wallet", type: "address" },
  { name: "purpose", type: "string" },
  { name: "version", type: "uint256" },
];
const DEADLINE = { name: "deadline", type: "uint256" };
const KEY_BINDING = {
  KeyBinding: [
    ...WALLET_VERSION,
    { name: "encryptionKey", type: "bytes32" },
    { name: "signingKey", type: "bytes32" },
    { name: "document", type: "bytes32" },
    DEADLINE,
  ],
};
const KEY_REVOCATION = { KeyRevocation: [...WALLET_VERSION, DEADLINE] };
const BINDING_PURPOSE =
  "Use this key for my DMTP messages from now on. Whoever made it can read what others send me and write in my name. " +
  "Only sign this in an application that you trust with that.";
const REVOCATION_PURPOSE =
  "Revoke all my DMTP keys, for ever. Messages of mine that are not anchored yet will be rejected, and nobody can " +
  "write to me until I register a new key.";
const FAR = 0xffff_ffffn; // four bytes that are not zero, as a time of this century

/** 32 bytes that both curves' checks take; none is zero, because calldata costs least for zeros. */
function fullBytes(label: string): string {
  const hash = ethers.getBytes(ethers.id(label));
  return ethers.hexlify(hash.map((byte, i) => (i === 31 ? (byte & 0x7f) | 1 : byte | 1)));
}

function cidOf(digest: string, codec = DAG_CBOR): string {
  return CID.createV1(codec, Digest.create(SHA2_256, ethers.getBytes(digest))).toString();
}

async function gasOf(contract: Contract, sender: Signer, call: string, args: readonly unknown[]): Promise<bigint> {
  const transaction = await contract
    .connect(sender)
    .getFunction(call)
    .send(...args);
  const receipt = await transaction.wait();
  if (receipt === null) throw new Error(`${call} was not mined`);
  return receipt.gasUsed;
}

async function deploymentGasOf(contract: Contract): Promise<bigint> {
  const receipt = await contract.deploymentTransaction()?.wait();
  if (receipt === null || receipt === undefined) throw new Error("the contract was not deployed by a transaction");
  return receipt.gasUsed;
}

describe("gas of whole transactions", () => {
  const measured = new Map<string, { readonly gas: bigint; readonly note: string }>();
  let isWhole = true;

  /** Without a note the row shows the call's limit. */
  function record(call: string, gas: bigint, note?: string): void {
    const limit = LIMITS[call];
    measured.set(call, { gas, note: note ?? (limit === undefined ? "" : `at most ${format(limit)}`) });
    if (limit !== undefined) expect(gas <= limit, `${call} took ${gas} gas, its limit is ${limit}`).to.equal(true);
  }

  afterEach(function () {
    if (this.currentTest?.state === "failed") isWhole = false;
  });

  describe("CIDStore", () => {
    const first = fullBytes("first");
    const roles = [deployer.address, other.address];

    /** With one entry, so that the next one writes no counter from zero. */
    async function deploy(): Promise<Contract> {
      const store = await ethers.deployContract("CIDStore", roles);
      await gasOf(store, other, "anchor", [ethers.ZeroHash, first]);
      return store;
    }

    it("anchors a digest; the first one costs a little less, for there is no head to look up", async () => {
      record("CIDStore.anchor", await gasOf(await deploy(), other, "anchor", [first, fullBytes("second")]));
      const empty = await ethers.deployContract("CIDStore", roles);
      record("CIDStore.anchor, the first", await gasOf(empty, other, "anchor", [ethers.ZeroHash, first]));
    });

    it("stores a canonical CID, for less than the contract of the documentation", async () => {
      const documented = await ethers.deployContract("DocumentedCIDStore", [deployer.address]);
      await gasOf(documented, deployer, "storeCID", [cidOf(first)]);
      const store = await deploy();
      const cid = cidOf(fullBytes("second"));
      const gas = await gasOf(store, deployer, "storeCID", [cid]);
      const documentedGas = await gasOf(documented, deployer, "storeCID", [cid]);
      expect(await store.getFunction("cids")(1)).to.equal(cid);
      record("CIDStore.storeCID, canonical", gas);
      record("DocumentedCIDStore.storeCID", documentedGas, "the same CID, for comparison");
      expect(gas < documentedGas, `${gas} gas is not less than ${documentedGas}`).to.equal(true);
    });

    it("stores another CID verbatim", async () => {
      const cid = cidOf(fullBytes("second"), RAW);
      record("CIDStore.storeCID, verbatim", await gasOf(await deploy(), deployer, "storeCID", [cid]), "59 bytes");
    });

    it("changes hands", async () => {
      const store = await deploy();
      record("CIDStore.setAnchorer", await gasOf(store, deployer, "setAnchorer", [deployer.address]));
      record("CIDStore.transferOwnership", await gasOf(store, deployer, "transferOwnership", [other.address]));
      record("CIDStore.acceptOwnership", await gasOf(store, other, "acceptOwnership", []));
    });

    it("would save by a batch form from the second digest on, and cost more for one", async () => {
      const store = await ethers.deployContract("BatchCIDStore", [other.address]);
      await gasOf(store, other, "anchorMany", [ethers.ZeroHash, [first]]);
      const ten = Array.from({ length: 10 }, (_, i) => fullBytes(`one of ten: ${i}`));
      const one = await gasOf(store, other, "anchorMany", [first, [fullBytes("second")]]);
      const each = (await gasOf(store, other, "anchorMany", [fullBytes("second"), ten])) / 10n;
      record("BatchCIDStore.anchorMany, one digest", one, "not in CIDStore: see below");
      record("BatchCIDStore.anchorMany, each of ten", each, "not in CIDStore: see below");
      expect(one > measured.get("CIDStore.anchor")!.gas).to.equal(true);
    });
  });

  describe("KeyRegistry", () => {
    async function sign(
      registry: Contract,
      wallet: Signer,
      types: Record<string, { name: string; type: string }[]>,
      message: Record<string, unknown>,
    ): Promise<string> {
      const { chainId } = await ethers.provider.getNetwork();
      const verifyingContract = await registry.getAddress();
      const domain = { name: "DMTP KeyRegistry", version: "1", chainId, verifyingContract };
      return wallet.signTypedData(domain, types, { wallet: await wallet.getAddress(), deadline: FAR, ...message });
    }

    /** What `register` takes, and `registerFor` after the wallet. */
    async function bindingOf(registry: Contract, wallet: Signer, version = 1n): Promise<unknown[]> {
      const keys = {
        encryptionKey: fullBytes(`encryption key ${version}`),
        signingKey: fullBytes(`signing key ${version}`),
        document: fullBytes(`document ${version}`),
      };
      return [
        ...Object.values(keys),
        FAR,
        await sign(registry, wallet, KEY_BINDING, { purpose: BINDING_PURPOSE, version, ...keys }),
      ];
    }

    /** With one wallet registered, so that another one writes no counter from zero. */
    async function deploy(): Promise<Contract> {
      const registry = await ethers.deployContract("KeyRegistry");
      await gasOf(registry, deployer, "register", await bindingOf(registry, deployer));
      return registry;
    }

    it("registers, rotates and revokes the caller's keys", async () => {
      const registry = await deploy();
      record("KeyRegistry.register", await gasOf(registry, other, "register", await bindingOf(registry, other)));
      const second = await bindingOf(registry, other, 2n);
      record("KeyRegistry.register, a rotation", await gasOf(registry, other, "register", second));
      record("KeyRegistry.revoke", await gasOf(registry, other, "revoke", []));
    });

    it("registers and revokes a signer's keys", async () => {
      const registry = await deploy();
      const wallet = new ethers.Wallet(ethers.id("a wallet"));
      const args = [wallet.address, ...(await bindingOf(registry, wallet))];
      record("KeyRegistry.registerFor", await gasOf(registry, deployer, "registerFor", args));
      const signature = await sign(registry, wallet, KEY_REVOCATION, { purpose: REVOCATION_PURPOSE, version: 2n });
      const gas = await gasOf(registry, deployer, "revokeFor", [wallet.address, FAR, signature]);
      record("KeyRegistry.revokeFor", gas);
    });
  });

  describe("both contracts", () => {
    it("are deployed", async () => {
      const store = await ethers.deployContract("CIDStore", [deployer.address, other.address]);
      const registry = await ethers.deployContract("KeyRegistry");
      for (const [name, contract] of Object.entries({ CIDStore: store, KeyRegistry: registry })) {
        // A byte of the metadata's hash, which any comment changes, costs 4 or 16: to the thousand it stays the same.
        const gas = ((await deploymentGasOf(contract)) / 1_000n) * 1_000n;
        record(`${name}, deployment`, gas, "in whole thousands");
      }
    });
  });

  describe("the table in docs/contracts.md", () => {
    it("says what every call took; UPDATE_GAS=1 writes it there", function () {
      if (!isWhole || measured.size < 17) this.skip(); // a part of these tests was asked for, or one failed
      const rows = [...measured].map(([call, { gas, note }]) => `| \`${call}\` | ${format(gas)} | ${note} |`);
      const table = ["| call | gas | |", "|---|--:|---|", ...rows].join("\n");
      const page = readFileSync(PAGE, "utf8");
      if (process.env["UPDATE_GAS"] === "1") {
        writeFileSync(
          PAGE,
          page.replace(TABLE, () => table),
        );
        return;
      }
      const said = TABLE.exec(page)?.[0] ?? "";
      const changes = [...measured].flatMap(([call, { gas }]) => {
        const was = new RegExp(`^\\| \`${call}\` \\| ([\\d,]+) \\|`, "m").exec(said)?.[1];
        if (was === format(gas)) return [];
        return [`${call} was ${was ?? "not there"}, is ${format(gas)}`];
      });
      const what = `${changes.join("; ")}: a rise is a defect; after a fall, run this with UPDATE_GAS=1`;
      expect(changes, what).to.deep.equal([]);
      expect(said).to.equal(table);
    });
  });
});

function format(gas: bigint): string {
  return gas.toLocaleString("en");
}
