// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IKeyRegistry} from "../../contracts/interfaces/IKeyRegistry.sol";
import {KeyRegistryTest} from "./KeyRegistryTest.sol";
import {EagerWallet, OddWallet, OpenWallet, OwnedWallet} from "./Wallets.sol";

/// @notice Who has to sign: nothing becomes a wallet's key that readers would reject for want of the wallet's signature.
contract KeyRegistrySignedTest is KeyRegistryTest {
    /// @dev What a CBOR reader and a JavaScript number still hold.
    uint256 private constant LAST_DEADLINE = 2 ** 53 - 1;

    // An account without code

    function test_anAccountWithoutCodeDoesNotRegisterUnsigned() public {
        bytes[4] memory signatures = [
            bytes(""),
            bytes("not a signature"),
            _signBinding(BOB_KEY, alice, 1),
            _signBinding(ALICE_KEY, alice, 2)
        ];
        for (uint256 i = 0; i < 4; i++) {
            _expectNotSigned(alice, _bindingDigest(alice, 1, NOW));
            _registerAs(alice, signatures[i]);
        }
        vm.assertEq(registry.count(), 0);
    }

    function test_ofTheSignatureOfWhoCallsEveryBitCounts() public {
        bytes memory signature = _signBinding(ALICE_KEY, alice, 1);
        for (uint256 bit = 0; bit < 65 * 8; bit++) {
            bytes memory flipped = bytes.concat(signature);
            flipped[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
            _expectNotSigned(alice, _bindingDigest(alice, 1, NOW));
            _registerAs(alice, flipped);
        }
        _registerAs(alice, signature);
    }

    /// @dev v of 0 or 1, the twin with the high s, the short form of EIP-2098, one byte more.
    function test_aSignatureHasOneForm() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ALICE_KEY, _bindingDigest(alice, 1, NOW));
        bytes[4] memory others = [
            abi.encodePacked(r, s, v - 27),
            abi.encodePacked(r, bytes32(N - uint256(s)), v == 27 ? uint8(28) : uint8(27)),
            abi.encodePacked(r, bytes32(uint256(s) | (uint256(v - 27) << 255))),
            abi.encodePacked(r, s, v, uint8(0))
        ];
        for (uint256 i = 0; i < 4; i++) {
            _expectNotSigned(alice, _bindingDigest(alice, 1, NOW));
            _registerAs(alice, others[i]);
        }
    }

    /// @dev r or s of zero, or of the order and above: what the precompile answers with nothing.
    function test_numbersOutsideTheFieldAreNoSignature() public {
        uint256[4] memory numbers = [0, N, N + 1, type(uint256).max];
        for (uint256 i = 0; i < 4; i++) {
            for (uint8 v = 27; v <= 28; v++) {
                _expectNotSigned(alice, _bindingDigest(alice, 1, NOW));
                _registerAs(alice, abi.encodePacked(numbers[i], uint256(1), v));
                _expectNotSigned(alice, _bindingDigest(alice, 1, NOW));
                _registerAs(alice, abi.encodePacked(uint256(1), numbers[i], v));
            }
        }
    }

    function test_aWalletUnderConstructionHasNoCode() public {
        try new EagerWallet(registry, X25519, ED25519, DOCUMENT) {
            revert("registered");
        } catch (bytes memory reason) {
            vm.assertEq(bytes32(bytes4(reason)), bytes32(IKeyRegistry.BindingNotSigned.selector));
        }
    }

    // The deadline

    function test_noDeadlineIsAbove2ToThe53() public {
        bytes memory signature = _sign(ALICE_KEY, _bindingDigest(alice, 1, LAST_DEADLINE + 1));
        bytes memory refusal = abi.encodeWithSelector(
            IKeyRegistry.DeadlineTooFar.selector,
            LAST_DEADLINE + 1,
            LAST_DEADLINE
        );
        vm.expectRevert(refusal);
        vm.prank(alice);
        registry.register(X25519, ED25519, DOCUMENT, LAST_DEADLINE + 1, signature);
        vm.expectRevert(refusal);
        registry.registerFor(alice, X25519, ED25519, DOCUMENT, LAST_DEADLINE + 1, signature);
        signature = _sign(ALICE_KEY, _bindingDigest(alice, 1, LAST_DEADLINE));
        registry.registerFor(alice, X25519, ED25519, DOCUMENT, LAST_DEADLINE, signature);
    }

    // A wallet with code, which may have a key of its own as well

    function test_aContractWalletNeverHasToSign() public {
        OwnedWallet wallet = new OwnedWallet(alice);
        for (uint256 i = 0; i < 7; i++) wallet.register(registry, X25519, ED25519, DOCUMENT);
        bytes memory byItsOwner = _signBinding(ALICE_KEY, address(wallet), 8);
        registry.registerFor(address(wallet), X25519, ED25519, DOCUMENT, NOW, byItsOwner);
        vm.assertEq(registry.versionCount(address(wallet)), 8);
    }

    function test_anAccountWithCodeMaySignLaterAndNeverGoesBack() public {
        _delegate(alice, address(new OpenWallet()));
        vm.assertEq(_registerAs(alice, ""), 1);
        vm.assertEq(_registerFor(alice, "by its code"), 2);
        vm.assertEq(_registerAs(alice, _signBinding(ALICE_KEY, alice, 3)), 3);
        _checkOnlySigned(4);
    }

    function test_oneSignedRegistrationIsEnoughWhoeverSubmitsIt() public {
        _delegate(alice, address(new OpenWallet()));
        _registerFor(alice, _signBinding(ALICE_KEY, alice, 1));
        _checkOnlySigned(2);
    }

    function test_anAccountThatSignedWhenItHadNoCodeSignsWithCodeToo() public {
        _registerAs(alice);
        _delegate(alice, address(new OpenWallet()));
        _checkOnlySigned(2);
    }

    function test_aTombstoneIsNotTheEndOfThat() public {
        _registerAs(alice);
        _delegate(alice, address(new OpenWallet()));
        _revokeAs(alice);
        _checkOnlySigned(3);
        vm.assertEq(_registerAs(alice), 3);
        // Its code may still revoke: that puts no key in the place of another.
        vm.assertEq(registry.revokeFor(alice, NOW, "by its code"), 4);
        _checkOnlySigned(5);
    }

    /// @dev The mark lies beside the block numbers of the first five versions; it stays when later ones lie elsewhere.
    function test_thatAWalletSignedStaysForTwentyVersions() public {
        _registerAs(alice);
        _delegate(alice, address(new OpenWallet()));
        for (uint256 version = 2; version <= 20; version++) {
            vm.roll(2 ** 40 - 21 + version);
            _checkOnlySigned(version);
            vm.assertEq(_registerAs(alice), version);
            vm.assertEq(registry.keyOf(alice, version).registeredAtBlock, 2 ** 40 - 21 + version);
        }
        vm.assertEq(registry.keyOf(alice, 1).registeredAtBlock, 1000);
    }

    function test_whatOneWalletSignedBindsNoOther() public {
        _registerAs(alice);
        _delegate(bob, address(new OpenWallet()));
        vm.assertEq(_registerAs(bob, ""), 1);
    }

    /// @dev The registry asks a wallet's code, and the code answers for a signature that no key of the wallet made.
    function test_aSignatureThatCodeRefusesIsInvalidAsBefore() public {
        _registerAs(alice);
        _delegate(alice, address(new OddWallet("")));
        _expectInvalid(alice, _bindingDigest(alice, 2, NOW));
        _registerFor(alice, "by its code");
    }

    /// @dev Alice has code that accepts everything; nothing but her key makes version `next`.
    function _checkOnlySigned(uint256 next) private {
        bytes32 digest = _bindingDigest(alice, next, NOW);
        _expectNotSigned(alice, digest);
        _registerAs(alice, "");
        _expectNotSigned(alice, digest);
        _registerAs(alice, _signBinding(BOB_KEY, alice, next));
        _expectNotSigned(alice, digest);
        _registerFor(alice, "by its code");
        vm.assertEq(registry.versionCount(alice), next - 1);
    }

    function _registerFor(address wallet, bytes memory signature) private returns (uint256) {
        return registry.registerFor(wallet, X25519, ED25519, DOCUMENT, NOW, signature);
    }
}
