// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {KeyRegistry} from "../../contracts/KeyRegistry.sol";
import {IKeyRegistry} from "../../contracts/interfaces/IKeyRegistry.sol";
import {KeyRegistryTest} from "./KeyRegistryTest.sol";
import {OddWallet, OwnedWallet} from "./Wallets.sol";

/// @notice Registration and revocation by whoever holds the wallet's signature.
contract KeyRegistryRelayedTest is KeyRegistryTest {
    // ECDSA

    function test_anyoneRegistersWithTheWalletsSignature() public {
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        vm.expectEmit(address(registry));
        emit IKeyRegistry.KeyRegistered(0, alice, 1, X25519, ED25519, DOCUMENT, NOW, signature, false);
        vm.prank(bob);
        vm.assertEq(_registerFor(alice, signature), 1);
        vm.assertEq(registry.versionCount(alice), 1);
        vm.assertEq(registry.versionCount(bob), 0);
        vm.assertEq(registry.count(), 1);
    }

    function test_anyoneRevokesWithTheWalletsSignature() public {
        _registerAs(alice);
        bytes memory signature = _signRevocation(ALICE_KEY, alice, 2);
        vm.expectEmit(address(registry));
        emit IKeyRegistry.KeyRevoked(1, alice, 2);
        vm.prank(bob);
        vm.assertEq(registry.revokeFor(alice, NOW, signature), 2);
        vm.assertEq(registry.keyOf(alice, 2).encryptionKey, 0);
    }

    function test_aRelayedRevocationNeedsAKeyToo() public {
        bytes memory signature = _signRevocation(ALICE_KEY, alice, 1);
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.NothingToRevoke.selector, alice, 0));
        registry.revokeFor(alice, NOW, signature);
    }

    function test_aRegistrationIsNotReplayed() public {
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        _registerFor(alice, signature);
        _expectInvalid(alice, _bindingDigest(alice, 2, NOW));
        _registerFor(alice, signature);
    }

    function test_aRegistrationIsNotReplayedAfterARevocation() public {
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        _registerFor(alice, signature);
        _revokeAs(alice);
        _expectInvalid(alice, _bindingDigest(alice, 3, NOW));
        _registerFor(alice, signature);
    }

    function test_aRevocationIsNotReplayed() public {
        _registerAs(alice);
        bytes memory signature = _signRevocation(ALICE_KEY, alice, 2);
        registry.revokeFor(alice, NOW, signature);
        _registerAs(alice);
        _expectInvalid(alice, _revocationDigest(alice, 4, NOW));
        registry.revokeFor(alice, NOW, signature);
    }

    function test_aRevocationIsNoRegistrationAndTheOtherWayRound() public {
        _registerAs(alice);
        bytes memory binding = _signBinding(ALICE_KEY, alice, 2);
        _expectInvalid(alice, _revocationDigest(alice, 2, NOW));
        registry.revokeFor(alice, NOW, binding);
        bytes memory revocation = _signRevocation(ALICE_KEY, alice, 2);
        _expectInvalid(alice, _bindingDigest(alice, 2, NOW));
        _registerFor(alice, revocation);
    }

    function test_aSignatureIsForOneWallet() public {
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        _expectInvalid(bob, _bindingDigest(bob, 1, NOW));
        _registerFor(bob, signature);
    }

    function test_anotherWalletsSignatureIsRefused() public {
        bytes memory signature = _signBinding(BOB_KEY, alice, 1);
        _expectInvalid(alice, _bindingDigest(alice, 1, NOW));
        _registerFor(alice, signature);
    }

    function test_aSignatureIsForOneRegistryAndOneChain() public {
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        KeyRegistry first = registry;
        registry = new KeyRegistry();
        _expectInvalid(alice, _bindingDigest(alice, 1, NOW));
        _registerFor(alice, signature);
        registry = first;
        vm.chainId(137);
        _expectInvalid(alice, _bindingDigest(alice, 1, NOW));
        _registerFor(alice, signature);
        _registerFor(alice, _signBinding(ALICE_KEY, alice, 1));
    }

    function testFuzz_aSignatureCoversEveryField(uint256 field, uint256 change) public {
        vm.assume(change != 0);
        field = field % 4;
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        bytes32[4] memory message = [X25519, ED25519, DOCUMENT, bytes32(NOW)];
        // The low bits of the deadline and the first byte's of the others: what stays valid in itself.
        message[field] ^= field == 3 ? bytes32((change % 1000) << 40) : bytes32(((change % 7) + 1) << 240);
        if (field == 3 && change % 1000 == 0) return;
        bytes32 digest = _bindingDigest(alice, 1, message[0], message[1], message[2], uint256(message[3]));
        _expectInvalid(alice, digest);
        registry.registerFor(alice, message[0], message[1], message[2], uint256(message[3]), signature);
    }

    /// @dev Any one-bit change of the 65 bytes; the bits of `v` included.
    function test_everyBitOfTheSignatureCounts() public {
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        for (uint256 bit = 0; bit < 65 * 8; bit++) {
            bytes memory flipped = bytes.concat(signature);
            flipped[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
            _expectInvalid(alice, _bindingDigest(alice, 1, NOW));
            _registerFor(alice, flipped);
        }
        _registerFor(alice, signature);
    }

    function test_refusesTheTwinWithTheHighS() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ALICE_KEY, _bindingDigest(alice, 1, NOW));
        bytes memory twin = abi.encodePacked(r, bytes32(N - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        _expectInvalid(alice, _bindingDigest(alice, 1, NOW));
        _registerFor(alice, twin);
    }

    function test_refusesShortSignaturesOfEIP2098() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ALICE_KEY, _bindingDigest(alice, 1, NOW));
        bytes memory short = abi.encodePacked(r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
        _expectInvalid(alice, _bindingDigest(alice, 1, NOW));
        _registerFor(alice, short);
    }

    function test_refusesTheZeroWallet() public {
        // ecrecover answers zero for a signature that is none.
        bytes memory signature = abi.encodePacked(bytes32(uint256(1)), bytes32(uint256(1)), uint8(29));
        _expectInvalid(address(0), _bindingDigest(address(0), 1, NOW));
        _registerFor(address(0), signature);
    }

    function test_refusesPrecompiles() public {
        // The identity answers with what it was asked: the right selector, but more behind it.
        for (uint160 i = 1; i <= 0x11; i++) {
            _expectInvalid(address(i), _bindingDigest(address(i), 1, NOW));
            // One that fails burns 63/64 of the gas it is given.
            registry.registerFor{gas: 1_000_000}(address(i), X25519, ED25519, DOCUMENT, NOW, "");
        }
    }

    // The deadline

    function test_theDeadlineIsTheLastGoodSecond() public {
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        vm.warp(NOW + 1);
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.DeadlineExpired.selector, NOW, NOW + 1));
        _registerFor(alice, signature);
        vm.warp(NOW);
        _registerFor(alice, signature);

        signature = _signRevocation(ALICE_KEY, alice, 2);
        vm.warp(NOW + 1);
        vm.expectRevert(abi.encodeWithSelector(IKeyRegistry.DeadlineExpired.selector, NOW, NOW + 1));
        registry.revokeFor(alice, NOW, signature);
        vm.warp(NOW);
        registry.revokeFor(alice, NOW, signature);
    }

    function test_theDeadlineIsSigned() public {
        bytes memory signature = _signRevocation(ALICE_KEY, alice, 2);
        _registerAs(alice);
        vm.warp(NOW + 1);
        _expectInvalid(alice, _revocationDigest(alice, 2, NOW + 1));
        registry.revokeFor(alice, NOW + 1, signature);
    }

    // The same refusals as for a wallet that calls

    function test_refusesKeysAndDocumentsThatARegistrationWouldRefuse() public {
        bytes32[3] memory message = [X25519, ED25519, DOCUMENT];
        bytes[3] memory refusals = [
            abi.encodeWithSelector(IKeyRegistry.InvalidEncryptionKey.selector, 0),
            abi.encodeWithSelector(IKeyRegistry.InvalidSigningKey.selector, 0),
            abi.encodeWithSelector(IKeyRegistry.DocumentEmpty.selector)
        ];
        // A contract wallet that takes any signature, so that these checks are reached.
        address wallet = address(new OddWallet(abi.encode(bytes4(0x1626ba7e))));
        for (uint256 i = 0; i < 3; i++) {
            bytes32 kept = message[i];
            message[i] = 0;
            vm.expectRevert(refusals[i]);
            registry.registerFor(wallet, message[0], message[1], message[2], NOW, "");
            message[i] = kept;
        }
    }

    function test_refusesASignatureOf2049Bytes() public {
        bytes memory refusal = abi.encodeWithSelector(IKeyRegistry.SignatureTooLong.selector, 2049, 2048);
        vm.expectRevert(refusal);
        _registerFor(alice, new bytes(2049));
        vm.expectRevert(refusal);
        registry.revokeFor(alice, NOW, new bytes(2049));
        // 2,048 are only wrong.
        _expectInvalid(alice, _bindingDigest(alice, 1, NOW));
        _registerFor(alice, new bytes(2048));
    }

    // ERC-1271

    function test_aContractWalletSignsByERC1271() public {
        address wallet = address(new OwnedWallet(alice));
        bytes memory signature = _signBinding(ALICE_KEY, wallet, 1);
        vm.expectEmit(address(registry));
        emit IKeyRegistry.KeyRegistered(0, wallet, 1, X25519, ED25519, DOCUMENT, NOW, signature, true);
        _registerFor(wallet, signature);
        registry.revokeFor(wallet, NOW, _signRevocation(ALICE_KEY, wallet, 2));
        vm.assertEq(registry.versionCount(wallet), 2);
    }

    function test_aContractWalletRefusesByERC1271() public {
        address wallet = address(new OwnedWallet(alice));
        bytes memory signature = _signBinding(BOB_KEY, wallet, 1);
        _expectInvalid(wallet, _bindingDigest(wallet, 1, NOW));
        _registerFor(wallet, signature);
    }

    function test_oddAnswersAreRefusals() public {
        bytes[6] memory answers = [
            bytes(""), // reverts
            abi.encode(bytes4(0xffffffff)),
            abi.encode(uint256(1)),
            abi.encodePacked(bytes4(0x1626ba7e)), // too short
            abi.encodePacked(bytes4(0x1626ba7e), bytes28(uint224(1))), // not padded with zeros
            abi.encodePacked(bytes28(0), bytes4(0x1626ba7e)) // aligned like a number
        ];
        for (uint256 i = 0; i < answers.length; i++) {
            address wallet = address(new OddWallet(answers[i]));
            _expectInvalid(wallet, _bindingDigest(wallet, 1, NOW));
            _registerFor(wallet, "");
        }
    }

    // EIP-7702: an account with a key of its own and the code of another

    function test_anAccountWithCodeStillSignsWithItsKey() public {
        _delegate(alice, address(new OddWallet(abi.encode(bytes4(0xffffffff)))));
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        vm.expectEmit(address(registry));
        emit IKeyRegistry.KeyRegistered(0, alice, 1, X25519, ED25519, DOCUMENT, NOW, signature, true);
        _registerFor(alice, signature);
        registry.revokeFor(alice, NOW, _signRevocation(ALICE_KEY, alice, 2));
        vm.assertEq(registry.versionCount(alice), 2);
    }

    function test_anAccountWithCodeSignsByERC1271Too() public {
        _delegate(alice, address(new OwnedWallet(bob)));
        bytes memory signature = _signBinding(BOB_KEY, alice, 1);
        _registerFor(alice, signature);
        vm.assertEq(registry.versionCount(alice), 1);
    }

    function test_anAccountWithCodeThatRefusesIsRefused() public {
        _delegate(alice, address(new OddWallet("")));
        bytes memory signature = _signBinding(BOB_KEY, alice, 1);
        _expectInvalid(alice, _bindingDigest(alice, 1, NOW));
        _registerFor(alice, signature);
    }

    // Any wallet, any relayer

    function testFuzz_onlyTheWalletsSignatureMovesItsKey(uint256 walletKey, uint256 signerKey, address relayer) public {
        walletKey = bound(walletKey, 1, N - 1);
        signerKey = bound(signerKey, 1, N - 1);
        vm.assume(walletKey != signerKey);
        address wallet = vm.addr(walletKey);
        bytes memory signature = _signBinding(signerKey, wallet, 1);
        _expectInvalid(wallet, _bindingDigest(wallet, 1, NOW));
        vm.prank(relayer);
        _registerFor(wallet, signature);
        signature = _signBinding(walletKey, wallet, 1);
        vm.prank(relayer);
        _registerFor(wallet, signature);
        vm.assertEq(registry.versionCount(wallet), 1);
    }

    function _registerFor(address wallet, bytes memory signature) private returns (uint256) {
        return registry.registerFor(wallet, X25519, ED25519, DOCUMENT, NOW, signature);
    }
}
