// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {KeyRegistry} from "../../contracts/KeyRegistry.sol";
import {Test} from "./Vm.sol";

/// @notice What all tests of the registry share: a registry, keys that it takes, and a wallet's signatures, whose hashes
/// are written out here a second time, from EIP-712 and not from the contract.
abstract contract KeyRegistryTest is Test {
    bytes32 internal constant BINDING_TYPE = keccak256(
        "KeyBinding(address wallet,uint256 version,bytes32 encryptionKey,bytes32 signingKey,bytes32 document,uint256 deadline)"
    );
    bytes32 internal constant REVOCATION_TYPE = keccak256(
        "KeyRevocation(address wallet,uint256 version,uint256 deadline)"
    );

    /// The base point of Curve25519 and of Ed25519, and the hash of nothing.
    bytes32 internal constant X25519 = 0x0900000000000000000000000000000000000000000000000000000000000000;
    bytes32 internal constant ED25519 = 0x5866666666666666666666666666666666666666666666666666666666666666;
    bytes32 internal constant DOCUMENT = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;

    uint256 internal constant ALICE_KEY = 0xa11ce;
    uint256 internal constant BOB_KEY = 0xb0b;
    uint256 internal constant NOW = 1_800_000_000;

    KeyRegistry internal registry;
    address internal alice;
    address internal bob;

    function setUp() public virtual {
        vm.roll(1000);
        vm.warp(NOW);
        registry = new KeyRegistry();
        alice = vm.addr(ALICE_KEY);
        bob = vm.addr(BOB_KEY);
    }

    function _registerAs(address wallet) internal returns (uint256) {
        vm.prank(wallet);
        return registry.register(X25519, ED25519, DOCUMENT, NOW, "");
    }

    function _revokeAs(address wallet) internal returns (uint256) {
        vm.prank(wallet);
        return registry.revoke();
    }

    function _signBinding(uint256 key, address wallet, uint256 version) internal view returns (bytes memory) {
        return _sign(key, _bindingDigest(wallet, version, NOW));
    }

    function _signRevocation(uint256 key, address wallet, uint256 version) internal view returns (bytes memory) {
        return _sign(key, _revocationDigest(wallet, version, NOW));
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _bindingDigest(address wallet, uint256 version, uint256 deadline) internal view returns (bytes32) {
        return _digest(keccak256(abi.encode(BINDING_TYPE, wallet, version, X25519, ED25519, DOCUMENT, deadline)));
    }

    function _revocationDigest(address wallet, uint256 version, uint256 deadline) internal view returns (bytes32) {
        return _digest(keccak256(abi.encode(REVOCATION_TYPE, wallet, version, deadline)));
    }

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("DMTP KeyRegistry"),
                keccak256("1"),
                block.chainid,
                address(registry)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }
}
