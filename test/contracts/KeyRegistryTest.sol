// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {KeyRegistry} from "../../contracts/KeyRegistry.sol";
import {IKeyRegistry} from "../../contracts/interfaces/IKeyRegistry.sol";
import {Test} from "./Vm.sol";

/// @notice What all tests of the registry share: a registry, keys that it takes, and a wallet's signatures, whose hashes
/// are written out here a second time, from EIP-712 and not from the contract.
abstract contract KeyRegistryTest is Test {
    bytes32 internal constant BINDING_TYPE = keccak256(
        "KeyBinding(address wallet,string purpose,uint256 version,bytes32 encryptionKey,bytes32 signingKey,bytes32 document,uint256 deadline)"
    );
    bytes32 internal constant REVOCATION_TYPE = keccak256(
        "KeyRevocation(address wallet,string purpose,uint256 version,uint256 deadline)"
    );
    string internal constant BINDING_PURPOSE =
        "Use this key for my DMTP messages from now on. Whoever made it can read what others send me and write in my name. Only sign this in an application that you trust with that.";
    string internal constant REVOCATION_PURPOSE =
        "Revoke all my DMTP keys, for ever. Messages of mine that are not anchored yet will be rejected, and nobody can write to me until I register a new key.";

    /// The base point of Curve25519 and of Ed25519, and the hash of nothing.
    bytes32 internal constant X25519 = 0x0900000000000000000000000000000000000000000000000000000000000000;
    bytes32 internal constant ED25519 = 0x5866666666666666666666666666666666666666666666666666666666666666;
    bytes32 internal constant DOCUMENT = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;

    uint256 internal constant ALICE_KEY = 0xa11ce;
    uint256 internal constant BOB_KEY = 0xb0b;
    uint256 internal constant NOW = 1_800_000_000;
    /// The order of secp256k1.
    uint256 internal constant N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    /// The points of small order whose number is neither 0, 1 nor p - 1: two of Curve25519, two of Ed25519 without sign.
    bytes32 internal constant SMALL_U1 = 0xe0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800;
    bytes32 internal constant SMALL_U2 = 0x5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157;
    bytes32 internal constant SMALL_Y1 = 0x26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05;
    bytes32 internal constant SMALL_Y2 = 0xc7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a;

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

    /// @dev Alice's or Bob's next version, by their own transaction.
    function _registerAs(address wallet) internal returns (uint256) {
        uint256 next = registry.versionCount(wallet) + 1;
        bytes memory signature = _signBinding(wallet == alice ? ALICE_KEY : BOB_KEY, wallet, next);
        return _registerAs(wallet, signature);
    }

    function _registerAs(address wallet, bytes memory signature) internal returns (uint256) {
        vm.prank(wallet);
        return registry.register(X25519, ED25519, DOCUMENT, NOW, signature);
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
        return _bindingDigest(wallet, version, X25519, ED25519, DOCUMENT, deadline);
    }

    function _bindingDigest(
        address wallet,
        uint256 version,
        bytes32 encryptionKey,
        bytes32 signingKey,
        bytes32 document,
        uint256 deadline
    ) internal view returns (bytes32) {
        bytes32 purpose = keccak256(bytes(BINDING_PURPOSE));
        return
            _digest(
                keccak256(
                    abi.encode(BINDING_TYPE, wallet, purpose, version, encryptionKey, signingKey, document, deadline)
                )
            );
    }

    function _revocationDigest(address wallet, uint256 version, uint256 deadline) internal view returns (bytes32) {
        bytes32 purpose = keccak256(bytes(REVOCATION_PURPOSE));
        return _digest(keccak256(abi.encode(REVOCATION_TYPE, wallet, purpose, version, deadline)));
    }

    /// @dev SPEC 3.1, from its words and not from the contract. A fuzzer finds points of small order in the contract's code.
    function _isEncryptionKey(bytes32 key) internal pure returns (bool) {
        return _isBetweenOneAndMinusOne(_littleEndian(key)) && key != SMALL_U1 && key != SMALL_U2;
    }

    /// @dev The highest bit is the sign of x.
    function _isSigningKey(bytes32 key) internal pure returns (bool) {
        bytes32 unsigned = key & ~bytes32(uint256(0x80));
        return _isBetweenOneAndMinusOne(_littleEndian(unsigned)) && unsigned != SMALL_Y1 && unsigned != SMALL_Y2;
    }

    function _isBetweenOneAndMinusOne(uint256 number) private pure returns (bool) {
        return number > 1 && number < 2 ** 255 - 19 - 1;
    }

    function _littleEndian(bytes32 data) private pure returns (uint256 value) {
        for (uint256 i = 0; i < 32; i++) value |= uint256(uint8(data[i])) << (8 * i);
    }

    function _expectInvalid(address wallet, bytes32 digest) internal {
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.InvalidSignature.selector, wallet, digest));
    }

    function _expectNotSigned(address wallet, bytes32 digest) internal {
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.BindingNotSigned.selector, wallet, digest));
    }

    /// @dev What a type-4 transaction leaves at the account: EIP-7702's delegation designator.
    function _delegate(address account, address implementation) internal {
        vm.etch(account, abi.encodePacked(hex"ef0100", implementation));
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
