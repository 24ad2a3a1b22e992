// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {KeyRegistry} from "../../contracts/KeyRegistry.sol";
import {IKeyRegistry} from "../../contracts/interfaces/IKeyRegistry.sol";
import {KeyRegistryTest} from "./KeyRegistryTest.sol";
import {OwnedWallet} from "./Wallets.sol";

/// @notice Versions, tombstones, keys and reading; what is relayed is in
/// KeyRegistry.relayed.t.sol, and who has to sign in KeyRegistry.signed.t.sol.
contract KeyRegistryDirectTest is KeyRegistryTest {
    /// 2^255 - 19 and its neighbours, little-endian.
    uint256 private constant P = 0xedffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f;

    /// What a search may take, however many versions there are: each step reads one slot, and ten steps are enough for 1,000.
    uint256 private constant SEARCH_GAS = 50_000;

    // Deployment

    function test_startsEmptyAndKnowsItsBlock() public view {
        vm.assertEq(registry.count(), 0);
        vm.assertEq(registry.deployedAtBlock(), 1000);
        vm.assertEq(registry.versionCount(alice), 0);
    }

    function test_saysItsEIP712Domain() public view {
        (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifier,
            bytes32 salt,

        ) = registry.eip712Domain();
        vm.assertEq(bytes32(fields), bytes32(hex"0f"));
        vm.assertEq(name, "DMTP KeyRegistry");
        vm.assertEq(version, "1");
        vm.assertEq(chainId, block.chainid);
        vm.assertEq(verifier, address(registry));
        vm.assertEq(salt, 0);
    }

    // register

    function test_registersTheCallersKeys() public {
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        vm.expectEmit(address(registry));
        emit IKeyRegistry.KeyRegistered(0, alice, 1, X25519, ED25519, DOCUMENT, NOW, signature, false);
        vm.assertEq(_registerAs(alice, signature), 1);
        vm.assertEq(registry.count(), 1);
        vm.assertEq(registry.versionCount(alice), 1);
        _checkVersion(alice, 1, X25519, DOCUMENT, 1000);
    }

    function test_rotationKeepsTheOldVersionReadable() public {
        _registerAs(alice);
        vm.roll(1001);
        bytes32 other = bytes32(uint256(X25519) | (1 << 200));
        bytes32 document = bytes32(uint256(1));
        bytes memory signature = _sign(ALICE_KEY, _bindingDigest(alice, 2, other, ED25519, document, NOW));
        vm.expectEmit(address(registry));
        emit IKeyRegistry.KeyRegistered(1, alice, 2, other, ED25519, document, NOW, signature, false);
        vm.prank(alice);
        registry.register(other, ED25519, document, NOW, signature);
        vm.assertEq(registry.versionCount(alice), 2);
        _checkVersion(alice, 1, X25519, DOCUMENT, 1000);
        _checkVersion(alice, 2, other, document, 1001);
        _checkKeyAt(alice, 1000, 1);
        _checkKeyAt(alice, 1001, 2);
    }

    function test_walletsDoNotTouchEachOther() public {
        _registerAs(alice);
        bytes memory signature = _signBinding(BOB_KEY, bob, 1);
        vm.expectEmit(address(registry));
        emit IKeyRegistry.KeyRegistered(1, bob, 1, X25519, ED25519, DOCUMENT, NOW, signature, false);
        _registerAs(bob, signature);
        vm.assertEq(registry.versionCount(alice), 1);
        vm.assertEq(registry.versionCount(bob), 1);
        vm.assertEq(registry.count(), 2);
    }

    function test_doesNotCheckTheCallersOwnDeadline() public {
        bytes memory signature = _sign(ALICE_KEY, _bindingDigest(alice, 1, 0));
        vm.prank(alice);
        vm.assertEq(registry.register(X25519, ED25519, DOCUMENT, 0, signature), 1);
    }

    function test_saysThatAContractWalletHasCode() public {
        OwnedWallet wallet = new OwnedWallet(alice);
        vm.expectEmit(address(registry));
        emit IKeyRegistry.KeyRegistered(0, address(wallet), 1, X25519, ED25519, DOCUMENT, 0, "", true);
        wallet.register(registry, X25519, ED25519, DOCUMENT);
    }

    function test_takesASignatureOf2048BytesFromAContractWallet() public {
        _registerAs(_contractWallet(), new bytes(2048));
        vm.assertEq(registry.count(), 1);
    }

    function test_refusesASignatureOf2049Bytes() public {
        address wallet = _contractWallet();
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.SignatureTooLong.selector, 2049, 2048));
        _registerAs(wallet, new bytes(2049));
    }

    function test_refusesAnEmptyDocument() public {
        bytes memory signature = _sign(ALICE_KEY, _bindingDigest(alice, 1, X25519, ED25519, 0, NOW));
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.DocumentEmpty.selector));
        vm.prank(alice);
        registry.register(X25519, ED25519, 0, NOW, signature);
    }

    // The edges of valid keys

    function test_encryptionKeysEndAtTheFieldPrime() public {
        _takeEncryptionKey(uint256(2) << 248); // 2
        _takeEncryptionKey(1); // 2^248
        _takeEncryptionKey(0x7f); // 127 * 2^248
        _takeEncryptionKey(P - (2 << 248)); // p - 2
        _takeEncryptionKey(P - 1); // p - 2^248
        _takeEncryptionKey(P - (1 << 8)); // p - 2^240
        _takeEncryptionKey(P - (1 << 240)); // p - 2^8
        _takeEncryptionKey((P | (0xff << 248)) - (1 << 240)); // p - 2^8 + 18: each byte but one like 2^255 - 1
        for (uint256 i = 0xed; i <= 0xff; i++) _refuseEncryptionKey((P & (type(uint256).max >> 8)) | (i << 248)); // p to 2^255 - 1
        _refuseEncryptionKey(0x80); // 2^255
        _refuseEncryptionKey((uint256(9) << 248) | 0x80); // 2^255 + 9
        _refuseEncryptionKey(type(uint256).max);
    }

    function test_signingKeysEndAtTheFieldPrimeWhicheverTheSign() public {
        for (uint256 sign = 0; sign <= 0x80; sign += 0x80) {
            _takeSigningKey((2 << 248) | sign);
            _takeSigningKey(1 | sign);
            _takeSigningKey(0x7f | sign);
            _takeSigningKey((P - (2 << 248)) | sign);
            _takeSigningKey((P - 1) | sign);
            _takeSigningKey((P - (1 << 8)) | sign);
            _takeSigningKey((P - (1 << 240)) | sign);
            _takeSigningKey(((P | (0xff << 248)) - (1 << 240)) | sign);
            for (uint256 i = 0xed; i <= 0xff; i++) {
                _refuseSigningKey((P & (type(uint256).max >> 8)) | (i << 248) | sign);
            }
        }
    }

    /// @dev The list of RFC 7748's small orders, and of the eight points of Ed25519's torsion: SPEC 3.1 calls none admissible.
    function test_refusesKeysOfSmallOrder() public {
        _refuseEncryptionKey(0);
        _refuseEncryptionKey(1 << 248);
        _refuseEncryptionKey(P - (1 << 248));
        _refuseEncryptionKey(uint256(SMALL_U1));
        _refuseEncryptionKey(uint256(SMALL_U2));
        for (uint256 sign = 0; sign <= 0x80; sign += 0x80) {
            _refuseSigningKey(sign);
            _refuseSigningKey((1 << 248) | sign);
            _refuseSigningKey((P - (1 << 248)) | sign);
            _refuseSigningKey(uint256(SMALL_Y1) | sign);
            _refuseSigningKey(uint256(SMALL_Y2) | sign);
        }
        // The same numbers are good keys of the other kind.
        _takeSigningKey(uint256(SMALL_U1));
        _takeEncryptionKey(uint256(SMALL_Y1));
    }

    function testFuzz_keysAreTakenIfAdmissible(bytes32 encryptionKey, bytes32 signingKey) public {
        address wallet = _contractWallet();
        if (!_isEncryptionKey(encryptionKey)) {
            vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.InvalidEncryptionKey.selector, encryptionKey));
        } else if (!_isSigningKey(signingKey)) {
            vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.InvalidSigningKey.selector, signingKey));
        }
        vm.prank(wallet);
        registry.register(encryptionKey, signingKey, DOCUMENT, NOW, "");
    }

    /// @dev Random keys are hardly ever near the prime; here every one is.
    function testFuzz_keysNearThePrimeToo(uint8 first, uint256 place, uint8 change) public {
        uint256 key = (P & (type(uint256).max >> 8)) | (uint256(first) << 248);
        // Some byte changed, or none.
        key ^= uint256(change) << (8 * (place % 64 < 32 ? place % 32 : 256));
        testFuzz_keysAreTakenIfAdmissible(bytes32(key), ED25519);
        testFuzz_keysAreTakenIfAdmissible(X25519, bytes32(key));
    }

    // revoke

    function test_revocationAppendsATombstone() public {
        _registerAs(alice);
        vm.roll(1005);
        vm.expectEmit(address(registry));
        emit IKeyRegistry.KeyRevoked(1, alice, 2);
        vm.assertEq(_revokeAs(alice), 2);
        vm.assertEq(registry.count(), 2);
        vm.assertEq(registry.versionCount(alice), 2);
        _checkVersion(alice, 1, X25519, DOCUMENT, 1000);
        _checkVersion(alice, 2, 0, 0, 1005);
        _checkKeyAt(alice, 1004, 1);
        _checkKeyAt(alice, 1005, 2);
    }

    function test_nothingToRevokeWithoutAKey() public {
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.NothingToRevoke.selector, alice, 0));
        _revokeAs(alice);
    }

    function test_aTombstoneIsNotRevoked() public {
        _registerAs(alice);
        _revokeAs(alice);
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.NothingToRevoke.selector, alice, 2));
        _revokeAs(alice);
        vm.assertEq(registry.versionCount(alice), 2);
    }

    function test_aTombstoneIsFollowedButNotUndone() public {
        _registerAs(alice);
        vm.roll(1010);
        _revokeAs(alice);
        vm.roll(1020);
        vm.assertEq(_registerAs(alice), 3);
        _checkVersion(alice, 2, 0, 0, 1010);
        _checkVersion(alice, 3, X25519, DOCUMENT, 1020);
        _checkKeyAt(alice, 1019, 2);
        vm.assertEq(_revokeAs(alice), 4);
        _checkVersion(alice, 4, 0, 0, 1020);
        _checkKeyAt(alice, 1020, 4);
    }

    // Reading

    function test_refusesAVersionThatIsNotThere() public {
        _registerAs(alice);
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.UnknownVersion.selector, alice, 0, 1));
        registry.keyOf(alice, 0);
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.UnknownVersion.selector, alice, 2, 1));
        registry.keyOf(alice, 2);
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.UnknownVersion.selector, bob, 1, 0));
        registry.keyOf(bob, 1);
    }

    function test_beforeTheFirstVersionThereIsNone() public {
        vm.assertEq(_versionAt(alice, 1000), 0);
        _registerAs(alice);
        vm.assertEq(_versionAt(alice, 999), 0);
        vm.assertEq(_versionAt(alice, 0), 0);
        vm.assertEq(_versionAt(alice, type(uint256).max), 1);
        (, IKeyRegistry.KeyVersion memory key) = registry.keyAt{gas: SEARCH_GAS}(alice, 999);
        vm.assertEq(key.encryptionKey, 0);
        vm.assertEq(key.document, 0);
        vm.assertEq(key.registeredAtBlock, 0);
    }

    function test_ofVersionsInOneBlockTheLastCounts() public {
        for (uint256 i = 0; i < 4; i++) _registerAs(alice);
        vm.assertEq(_versionAt(alice, 1000), 4);
        vm.assertEq(_versionAt(alice, 999), 0);
    }

    /// @dev Five block numbers share the slot of the count, six each later slot: 20 versions cross three such borders.
    function test_blockNumbersOfAnySizeStayApart() public {
        uint256[20] memory blocks;
        for (uint256 i = 0; i < 20; i++) {
            blocks[i] = i < 10 ? 1000 + i : 2 ** 40 - 20 + i;
            vm.roll(blocks[i]);
            vm.assertEq(_registerAs(alice), i + 1);
        }
        vm.assertEq(registry.versionCount(alice), 20);
        for (uint256 i = 0; i < 20; i++) _checkVersion(alice, i + 1, X25519, DOCUMENT, blocks[i]);
    }

    /// @dev One version after the other would read 100 slots for 210,000 gas.
    function test_aSearchAmong600VersionsReadsAFewSlots() public {
        for (uint256 i = 1; i <= 600; i++) {
            vm.roll(1000 + 2 * i);
            _registerAs(alice);
        }
        for (uint256 i = 1; i <= 600; i += 37) {
            vm.assertEq(_versionAt(alice, 1000 + 2 * i), i);
            vm.assertEq(_versionAt(alice, 1001 + 2 * i), i);
        }
        vm.assertEq(_versionAt(alice, 1001), 0);
        vm.assertEq(_versionAt(alice, type(uint256).max), 600);
    }

    /// hardhat-config: fuzz.runs = 500
    function testFuzz_keyAtEqualsANaiveScan(uint8[] memory steps, uint256 queried) public {
        uint256 versions = steps.length > 40 ? 40 : steps.length;
        uint256[] memory blocks = new uint256[](versions + 1);
        blocks[0] = 1000;
        for (uint256 i = 1; i <= versions; i++) {
            // Steps of 0 to 3 blocks, so that some versions share a block; every fourth version a tombstone.
            blocks[i] = blocks[i - 1] + (steps[i - 1] % 4);
            vm.roll(blocks[i]);
            if (i % 4 == 0) _revokeAs(alice);
            else _registerAs(alice);
        }
        for (uint256 b = 998; b <= blocks[versions] + 2; b++) _checkNaive(blocks, b);
        _checkNaive(blocks, queried);
    }

    function _checkNaive(uint256[] memory blocks, uint256 blockNumber) private view {
        uint256 expected;
        for (uint256 i = 1; i < blocks.length; i++) if (blocks[i] <= blockNumber) expected = i;
        vm.assertEq(_versionAt(alice, blockNumber), expected);
        if (expected != 0) _checkKeyAt(alice, blockNumber, expected);
    }

    function _versionAt(address wallet, uint256 blockNumber) private view returns (uint256 version) {
        (version, ) = registry.keyAt{gas: SEARCH_GAS}(wallet, blockNumber);
    }

    /// @dev keyAt gives that version, and what keyOf says of it.
    function _checkKeyAt(address wallet, uint256 blockNumber, uint256 expected) private view {
        (uint256 version, IKeyRegistry.KeyVersion memory key) = registry.keyAt{gas: SEARCH_GAS}(wallet, blockNumber);
        vm.assertEq(version, expected);
        _checkVersion(wallet, version, key.encryptionKey, key.document, key.registeredAtBlock);
    }

    function _checkVersion(
        address wallet,
        uint256 version,
        bytes32 encryptionKey,
        bytes32 document,
        uint256 registeredAtBlock
    ) private view {
        IKeyRegistry.KeyVersion memory key = registry.keyOf(wallet, version);
        vm.assertEq(key.encryptionKey, encryptionKey);
        vm.assertEq(key.document, document);
        vm.assertEq(key.registeredAtBlock, registeredAtBlock);
    }

    /// @dev Who needs no signature, so that nothing but the keys decides.
    function _contractWallet() private returns (address) {
        return address(new OwnedWallet(alice));
    }

    function _takeEncryptionKey(uint256 key) private {
        address wallet = _contractWallet();
        vm.prank(wallet);
        registry.register(bytes32(key), ED25519, DOCUMENT, NOW, "");
    }

    function _refuseEncryptionKey(uint256 key) private {
        address wallet = _contractWallet();
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.InvalidEncryptionKey.selector, key));
        vm.prank(wallet);
        registry.register(bytes32(key), ED25519, DOCUMENT, NOW, "");
    }

    function _takeSigningKey(uint256 key) private {
        address wallet = _contractWallet();
        vm.prank(wallet);
        registry.register(X25519, bytes32(key), DOCUMENT, NOW, "");
    }

    function _refuseSigningKey(uint256 key) private {
        address wallet = _contractWallet();
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.InvalidSigningKey.selector, key));
        vm.prank(wallet);
        registry.register(X25519, bytes32(key), DOCUMENT, NOW, "");
    }
}
