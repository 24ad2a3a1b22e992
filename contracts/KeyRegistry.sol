// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IKeyRegistry} from "./interfaces/IKeyRegistry.sol";

/// @title KeyRegistry
/// @notice See IKeyRegistry for what may be relied on.
/// @dev No owner, no pause, no proxy: whoever could change this contract could put its own key under any wallet.
contract KeyRegistry is IKeyRegistry, EIP712 {
    // The compiler hashes these two; no string of this length is in the code.
    /* solhint-disable gas-small-strings */
    bytes32 private constant _KEY_BINDING_TYPEHASH = keccak256(
        "KeyBinding(address wallet,uint256 version,bytes32 encryptionKey,bytes32 signingKey,bytes32 document,uint256 deadline)"
    );
    bytes32 private constant _KEY_REVOCATION_TYPEHASH = keccak256(
        "KeyRevocation(address wallet,uint256 version,uint256 deadline)"
    );
    /* solhint-enable gas-small-strings */

    /// @dev 2^255 - 19 as the 32 little-endian bytes in which X25519 and Ed25519 write it.
    uint256 private constant _FIELD_PRIME = 0xedffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f;
    /// @dev The top bit of a little-endian number of 32 bytes.
    uint256 private constant _TOP_BIT = 0x80;

    /// @dev A Safe of 30 owners signs with 1,950 bytes.
    uint256 private constant _SIGNATURE_LIMIT = 2048;

    /// @dev A word of `History` is six lanes of 40 bits, enough for a block number for 3,000 years at ten blocks a second.
    uint256 private constant _LANES_PER_WORD = 6;
    uint256 private constant _LANE_BITS = 40;
    uint256 private constant _LANE_MASK = (1 << _LANE_BITS) - 1;

    /// @dev The message of `KeyBinding`, in its order, so that `abi.encode` is EIP-712's `encodeData`.
    struct Binding {
        address wallet;
        uint256 version;
        bytes32 encryptionKey;
        bytes32 signingKey;
        bytes32 document;
        uint256 deadline;
    }

    /// @dev Both zero for a tombstone: it takes no slot.
    struct Key {
        bytes32 encryptionKey;
        bytes32 document;
    }

    /// @dev Lane 0 is the number of versions, lane v the block of version v; lane v lies in word v / 6. So each of a wallet's
    /// first five versions writes one slot for all of this, and it is the same slot each time.
    struct History {
        uint256 word0;
        mapping(uint256 word => uint256 lanes) laterWords;
        mapping(uint256 version => Key) keys;
    }

    /// @inheritdoc IKeyRegistry
    uint256 public immutable deployedAtBlock = block.number;

    /// @inheritdoc IKeyRegistry
    uint256 public count;

    mapping(address wallet => History) private _histories;

    constructor() EIP712("DMTP KeyRegistry", "1") {}

    /// @inheritdoc IKeyRegistry
    function register(
        bytes32 encryptionKey,
        bytes32 signingKey,
        bytes32 document,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 version) {
        _checkLength(signature);
        History storage history = _histories[msg.sender];
        version = _nextVersion(history);
        Binding memory binding = Binding(msg.sender, version, encryptionKey, signingKey, document, deadline);
        _register(history, binding, signature);
    }

    /// @inheritdoc IKeyRegistry
    function registerFor(
        address wallet,
        bytes32 encryptionKey,
        bytes32 signingKey,
        bytes32 document,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 version) {
        History storage history = _histories[wallet];
        version = _nextVersion(history);
        Binding memory binding = Binding(wallet, version, encryptionKey, signingKey, document, deadline);
        _checkSignature(wallet, keccak256(abi.encode(_KEY_BINDING_TYPEHASH, binding)), deadline, signature);
        _register(history, binding, signature);
    }

    /// @inheritdoc IKeyRegistry
    function revoke() external returns (uint256 version) {
        History storage history = _histories[msg.sender];
        version = _nextVersion(history);
        _revoke(history, msg.sender, version);
    }

    /// @inheritdoc IKeyRegistry
    function revokeFor(address wallet, uint256 deadline, bytes calldata signature) external returns (uint256 version) {
        History storage history = _histories[wallet];
        version = _nextVersion(history);
        bytes32 structHash = keccak256(abi.encode(_KEY_REVOCATION_TYPEHASH, wallet, version, deadline));
        _checkSignature(wallet, structHash, deadline, signature);
        _revoke(history, wallet, version);
    }

    /// @inheritdoc IKeyRegistry
    function versionCount(address wallet) external view returns (uint256) {
        return _versionCount(_histories[wallet]);
    }

    /// @inheritdoc IKeyRegistry
    function keyOf(address wallet, uint256 version) external view returns (KeyVersion memory) {
        History storage history = _histories[wallet];
        uint256 versions = _versionCount(history);
        if (version == 0 || version > versions) revert UnknownVersion(wallet, version, versions);
        return _keyOf(history, version);
    }

    /// @inheritdoc IKeyRegistry
    function keyAt(address wallet, uint256 blockNumber) external view returns (uint256 version, KeyVersion memory key) {
        History storage history = _histories[wallet];
        // Invariant: version `version` is in force at the block (0: always), version `above` is not yet (or doesn't exist).
        uint256 above = _versionCount(history) + 1;
        while (above - version > 1) {
            uint256 middle = (version + above) / 2;
            if (_registeredAtBlock(history, middle) > blockNumber) above = middle;
            else version = middle;
        }
        if (version != 0) key = _keyOf(history, version);
    }

    function _register(History storage history, Binding memory binding, bytes calldata signature) private {
        _checkKeys(binding);
        _append(history, binding.version);
        Key storage key = history.keys[binding.version];
        key.encryptionKey = binding.encryptionKey;
        key.document = binding.document;
        emit KeyRegistered(
            _nextIndex(),
            binding.wallet,
            binding.version,
            binding.encryptionKey,
            binding.signingKey,
            binding.document,
            binding.deadline,
            signature,
            binding.wallet.code.length != 0
        );
    }

    function _revoke(History storage history, address wallet, uint256 version) private {
        // Version 0 doesn't exist and reads as zero, like a tombstone.
        if (history.keys[version - 1].encryptionKey == 0) revert NothingToRevoke(wallet, version - 1);
        _append(history, version);
        emit KeyRevoked(_nextIndex(), wallet, version);
    }

    function _append(History storage history, uint256 version) private {
        unchecked {
            uint256 lane = block.number << ((version % _LANES_PER_WORD) * _LANE_BITS);
            // The count, in the lowest lane, goes up by one; it never reaches 2^40.
            if (version < _LANES_PER_WORD) {
                history.word0 = (history.word0 + 1) | lane;
            } else {
                ++history.word0;
                history.laterWords[version / _LANES_PER_WORD] |= lane;
            }
        }
    }

    function _nextIndex() private returns (uint256 index) {
        index = count;
        unchecked {
            count = index + 1;
        }
    }

    /// @dev ECDSA first, whether or not the wallet has code: an account with EIP-7702 code still has its key.
    function _checkSignature(
        address wallet,
        bytes32 structHash,
        uint256 deadline,
        bytes calldata signature
    ) private view {
        _checkLength(signature);
        // A miner can shift the time by seconds; a deadline that such a shift matters for is too short anyway.
        // slither-disable-next-line timestamp
        if (block.timestamp > deadline) revert DeadlineExpired(deadline, block.timestamp);
        bytes32 digest = _hashTypedDataV4(structHash);
        // The third value says more about an error; which one it was doesn't matter here.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError err, ) = ECDSA.tryRecoverCalldata(digest, signature);
        if (err == ECDSA.RecoverError.NoError && signer == wallet) return;
        if (!SignatureChecker.isValidERC1271SignatureNowCalldata(wallet, digest, signature)) {
            revert InvalidSignature(wallet, digest);
        }
    }

    function _versionCount(History storage history) private view returns (uint256) {
        return history.word0 & _LANE_MASK;
    }

    function _nextVersion(History storage history) private view returns (uint256) {
        unchecked {
            return _versionCount(history) + 1;
        }
    }

    function _registeredAtBlock(History storage history, uint256 version) private view returns (uint256) {
        uint256 index = version / _LANES_PER_WORD;
        uint256 word = index == 0 ? history.word0 : history.laterWords[index];
        return (word >> ((version % _LANES_PER_WORD) * _LANE_BITS)) & _LANE_MASK;
    }

    function _keyOf(History storage history, uint256 version) private view returns (KeyVersion memory) {
        Key storage key = history.keys[version];
        return KeyVersion(key.encryptionKey, key.document, _registeredAtBlock(history, version));
    }

    function _checkLength(bytes calldata signature) private pure {
        if (signature.length > _SIGNATURE_LIMIT) revert SignatureTooLong(signature.length, _SIGNATURE_LIMIT);
    }

    function _checkKeys(Binding memory binding) private pure {
        uint256 u = uint256(binding.encryptionKey);
        if (u == 0 || u & _TOP_BIT != 0 || !_isReduced(u)) revert InvalidEncryptionKey(binding.encryptionKey);
        uint256 y = uint256(binding.signingKey);
        // The top bit of an Ed25519 key is the sign of x, no part of y.
        if (y == 0 || !_isReduced(y & ~_TOP_BIT)) revert InvalidSigningKey(binding.signingKey);
        if (binding.document == 0) revert DocumentEmpty();
    }

    /// @dev Whether a little-endian number below 2^255 is below the field prime. The 19 that are not have every byte but the
    /// first like the prime, and the first not below it; so the bytes need no reversing.
    function _isReduced(uint256 littleEndian) private pure returns (bool) {
        return littleEndian << 8 != _FIELD_PRIME << 8 || littleEndian < _FIELD_PRIME;
    }
}
