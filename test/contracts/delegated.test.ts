import { expect } from "chai";
import { network } from "hardhat";

import { parseAddress } from "../../protocol/address.ts";
import { bindingRequest } from "../../protocol/binding.ts";
import { hashTypedData, type TypedData } from "../../protocol/eip712.ts";
import { fromHex } from "../../protocol/bytes.ts";

const { ethers } = await network.create();

describe("KeyRegistry and an externally owned account that carries EIP-7702 code", () => {
  it("takes the account's own signature, after a real type-4 transaction has put code there that signs for another", async () => {
    const [relayer, stranger] = await ethers.getSigners();
    if (relayer === undefined || stranger === undefined) throw new Error("the network has no two accounts");
    const registry = await ethers.deployContract("KeyRegistry");
    const implementation = await ethers.deployContract("OwnedWallet", [stranger.address]);

    const wallet = ethers.Wallet.createRandom().connect(ethers.provider);
    const authorization = await wallet.authorize({ address: await implementation.getAddress(), nonce: 0 });
    const delegation = await relayer.sendTransaction({
      type: 4,
      to: ethers.ZeroAddress,
      authorizationList: [authorization],
    });
    await delegation.wait();
    expect(await ethers.provider.getCode(wallet.address)).to.equal(
      ethers.concat(["0xef0100", await implementation.getAddress()]).toLowerCase(),
    );

    const { chainId } = await ethers.provider.getNetwork();
    const keyRegistry = parseAddress(await registry.getAddress());
    const keys = [ethers.sha256("0x01").slice(0, -2) + "00", ethers.sha256("0x02").slice(0, -2) + "00"] as const;
    const document = ethers.sha256("0x03");
    const deadline = Number.MAX_SAFE_INTEGER;
    const [encryptionKey, signingKey] = keys.map((key) => fromHex(key)) as [Uint8Array, Uint8Array];
    const requestFor = (version: number): TypedData =>
      bindingRequest(
        { chainId: Number(chainId), cidStore: keyRegistry, keyRegistry },
        {
          wallet: parseAddress(wallet.address),
          version,
          encryptionKey,
          signingKey,
          document: fromHex(document),
          deadline,
        },
      );
    const signAs = (signer: Pick<typeof wallet, "signTypedData">, version: number): Promise<string> => {
      const { domain, types, message } = requestFor(version);
      return signer.signTypedData(domain, types, message);
    };
    const fields = [...keys, document, deadline] as const;
    const registerFor = registry.getFunction("registerFor");
    const versionCount = registry.getFunction("versionCount");

    // As long as the account has not signed, its code's answer counts; what neither the key nor the code signed, doesn't.
    await expect(registerFor(wallet.address, ...fields, await signAs(relayer, 1)))
      .to.be.revertedWithCustomError(registry, "InvalidSignature")
      .withArgs(wallet.address, ethers.hexlify(hashTypedData(requestFor(1))));
    await registerFor(wallet.address, ...fields, await signAs(stranger, 1));

    const signature = await signAs(wallet, 2);
    await expect(registerFor(wallet.address, ...fields, signature))
      .to.emit(registry, "KeyRegistered")
      .withArgs(1n, wallet.address, 2n, ...fields, signature, true);
    expect(await versionCount(wallet.address)).to.equal(2n);

    // From then on nothing but its key counts.
    await expect(registerFor(wallet.address, ...fields, await signAs(stranger, 3)))
      .to.be.revertedWithCustomError(registry, "BindingNotSigned")
      .withArgs(wallet.address, ethers.hexlify(hashTypedData(requestFor(3))));
    await registerFor(wallet.address, ...fields, await signAs(wallet, 3));
    expect(await versionCount(wallet.address)).to.equal(3n);
  });
});
