import { expect } from "chai";
import { network } from "hardhat";

const { ethers } = await network.create();

const TYPES = {
  KeyBinding: [
    { name: "wallet", type: "address" },
    { name: "version", type: "uint256" },
    { name: "encryptionKey", type: "bytes32" },
    { name: "signingKey", type: "bytes32" },
    { name: "document", type: "bytes32" },
    { name: "deadline", type: "uint256" },
  ],
};

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
    const domain = { name: "DMTP KeyRegistry", version: "1", chainId, verifyingContract: await registry.getAddress() };
    const binding = {
      wallet: wallet.address,
      version: 1n,
      encryptionKey: ethers.sha256("0x01").slice(0, -2) + "00",
      signingKey: ethers.sha256("0x02").slice(0, -2) + "00",
      document: ethers.sha256("0x03"),
      deadline: ethers.MaxUint256,
    };
    const fields = [binding.encryptionKey, binding.signingKey, binding.document, binding.deadline] as const;
    const signature = await wallet.signTypedData(domain, TYPES, binding);
    const registerFor = registry.getFunction("registerFor");
    const versionCount = registry.getFunction("versionCount");
    await expect(registerFor(wallet.address, ...fields, signature))
      .to.emit(registry, "KeyRegistered")
      .withArgs(0n, wallet.address, 1n, ...fields, signature, true);
    expect(await versionCount(wallet.address)).to.equal(1n);

    // The code's own answer counts too; what neither the key nor the code signed, doesn't.
    const second = { ...binding, version: 2n };
    const byCode = await stranger.signTypedData(domain, TYPES, second);
    const byNeither = await relayer.signTypedData(domain, TYPES, second);
    await expect(registerFor(wallet.address, ...fields, byNeither))
      .to.be.revertedWithCustomError(registry, "InvalidSignature")
      .withArgs(wallet.address, ethers.TypedDataEncoder.hash(domain, TYPES, second));
    await registerFor(wallet.address, ...fields, byCode);
    expect(await versionCount(wallet.address)).to.equal(2n);
  });
});
