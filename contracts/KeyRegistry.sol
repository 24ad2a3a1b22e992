// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IKeyRegistry} from "./interfaces/IKeyRegistry.sol";

/// @title KeyRegistry
/// @notice See IKeyRegistry for what may be relied on.
/// @dev No owner, no pause, no proxy: whoever could change this contract could put its own key under any wallet. The
/// only call to another contract is static (ERC-1271), so what was read from storage before it still holds after it.
contract KeyRegistry is IKeyRegistry, EIP712 {
    // The compiler hashes these four; no string of this length is in the code.
    /* solhint-disable gas-small-strings */
    bytes32 private constant _KEY_BINDING_TYPEHASH = keccak256(
        "KeyBinding(address wallet,string purpose,uint256 version,bytes32 encryptionKey,bytes32 signingKey,"
        "bytes32 document,uint256 deadline)"
    );
    bytes32 private constant _KEY_REVOCATION_TYPEHASH = keccak256(
        "KeyRevocation(address wallet,string purpose,uint256 version,uint256 deadline)"
    );
    /// @dev EIP-712 encodes a text as its hash. A wallet shows the text to whoever is about to sign.
    bytes32 private constant _KEY_BINDING_PURPOSE = keccak256(
        "Use this key for my DMTP messages from now on. Whoever made it can read what others send me and write in my name. "
        "Only sign this in an application that you trust with that."
    );
    bytes32 private constant _KEY_REVOCATION_PURPOSE = keccak256(
        "Revoke all my DMTP keys, for ever. Messages of mine that are not anchored yet will be rejected, and nobody can "
        "write to me until I register a new key."
    );
    /* solhint-enable gas-small-strings */

    /// @dev Numbers modulo p = 2^255 - 19, as the 32 little-endian bytes in which X25519 and Ed25519 write them.
    uint256 private constant _ONE = 1 << 248;
    uint256 private constant _MINUS_ONE = 0xecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f;
    /// @dev With 0, 1 and p - 1, the u-coordinates of all points of small order on Curve25519 and on its twist.
    uint256 private constant _SMALL_ORDER_U1 = 0xe0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800;
    uint256 private constant _SMALL_ORDER_U2 = 0x5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157;
    /// @dev With 0, 1 and p - 1, the y-coordinates of all points of small order on Ed25519's curve.
    uint256 private constant _SMALL_ORDER_Y1 = 0x26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05;
    uint256 private constant _SMALL_ORDER_Y2 = 0xc7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a;
    /// @dev The top bit of a little-endian number of 32 bytes.
    uint256 private constant _TOP_BIT = 0x80;

    /// @dev Half the order of secp256k1 (EIP-2): of the two signatures that differ in nothing but `s`, only the lower
    /// counts.
    uint256 private constant _MAX_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @dev A Safe of 30 owners signs with 1,950 bytes.
    uint256 private constant _SIGNATURE_LIMIT = 2048;

    /// @dev The largest integer that every JavaScript number, and every CBOR library, holds exactly.
    uint256 private constant _DEADLINE_LIMIT = 2 ** 53 - 1;

    /// @dev A word of `History` is six lanes of 40 bits, enough for a block number for 3,000 years at ten blocks a
    /// second.
    uint256 private constant _LANES_PER_WORD = 6;
    uint256 private constant _LANE_BITS = 40;
    uint256 private constant _LANE_MASK = (1 << _LANE_BITS) - 1;
    /// @dev In `word0`, above its lanes: whether the wallet has signed a version with its own key.
    uint256 private constant _HAS_SIGNED = 1 << (_LANES_PER_WORD * _LANE_BITS);

    /// @dev The hash of the type and the message of `KeyBinding`, in its order: what EIP-712 hashes, word for word.
    struct Binding {
        bytes32 typeHash;
        address wallet;
        bytes32 purpose;
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

    /// @dev Lane 0 is the number of versions, lane v the block of version v; lane v lies in word v / 6. So each of a
    /// wallet's first five versions writes one slot for all of this, and it is the same slot each time. `_HAS_SIGNED`
    /// lies there too.
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
        History storage history = _histories[msg.sender];
        uint256 word0 = history.word0;
        version = _nextVersion(word0);
        Binding memory binding = Binding(
            _KEY_BINDING_TYPEHASH,
            msg.sender,
            _KEY_BINDING_PURPOSE,
            version,
            encryptionKey,
            signingKey,
            document,
            deadline
        );
        bytes32 digest = _digestOf(binding);
        if (_isSigned(msg.sender, digest, signature)) {
            word0 |= _HAS_SIGNED;
        } else {
            _checkLength(signature);
            if (msg.sender.code.length == 0 || word0 & _HAS_SIGNED != 0) revert BindingNotSigned(msg.sender, digest);
        }
        _register(history, word0, binding, signature);
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
        _checkDeadline(deadline);
        History storage history = _histories[wallet];
        uint256 word0 = history.word0;
        version = _nextVersion(word0);
        Binding memory binding = Binding(
            _KEY_BINDING_TYPEHASH,
            wallet,
            _KEY_BINDING_PURPOSE,
            version,
            encryptionKey,
            signingKey,
            document,
            deadline
        );
        bytes32 digest = _digestOf(binding);
        if (_isSigned(wallet, digest, signature)) {
            word0 |= _HAS_SIGNED;
        } else {
            _checkERC1271(wallet, digest, signature);
            if (word0 & _HAS_SIGNED != 0) revert BindingNotSigned(wallet, digest);
        }
        _register(history, word0, binding, signature);
    }

    /// @inheritdoc IKeyRegistry
    function revoke() external returns (uint256 version) {
        History storage history = _histories[msg.sender];
        uint256 word0 = history.word0;
        version = _nextVersion(word0);
        _revoke(history, word0, msg.sender, version);
    }

    /// @inheritdoc IKeyRegistry
    function revokeFor(address wallet, uint256 deadline, bytes calldata signature) external returns (uint256 version) {
        _checkDeadline(deadline);
        History storage history = _histories[wallet];
        uint256 word0 = history.word0;
        version = _nextVersion(word0);
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(_KEY_REVOCATION_TYPEHASH, wallet, _KEY_REVOCATION_PURPOSE, version, deadline))
        );
        if (!_isSigned(wallet, digest, signature)) _checkERC1271(wallet, digest, signature);
        _revoke(history, word0, wallet, version);
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

    function _register(
        History storage history,
        uint256 word0,
        Binding memory binding,
        bytes calldata signature
    ) private {
        _checkBinding(binding);
        _append(history, word0, binding.version);
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

    function _revoke(History storage history, uint256 word0, address wallet, uint256 version) private {
        // Version 0 doesn't exist and reads as zero, like a tombstone.
        if (history.keys[version - 1].encryptionKey == 0) revert NothingToRevoke(wallet, version - 1);
        _append(history, word0, version);
        emit KeyRevoked(_nextIndex(), wallet, version);
    }

    function _append(History storage history, uint256 word0, uint256 version) private {
        unchecked {
            // The count is the lowest lane; it never reaches 2^40.
            ++word0;
            if (version < _LANES_PER_WORD) {
                history.word0 = word0 | (block.number << (version * _LANE_BITS));
            } else {
                history.word0 = word0;
                history.laterWords[version / _LANES_PER_WORD] |=
                    block.number << ((version % _LANES_PER_WORD) * _LANE_BITS);
            }
        }
    }

    function _nextIndex() private returns (uint256 index) {
        index = count;
        unchecked {
            count = index + 1;
        }
    }

    /// @dev EIP-712's digest. Each member of the struct is a word of its own, so it lies in memory as `abi.encode` would
    /// copy it, for 270 gas.
    // slither-disable-next-line assembly
    function _digestOf(Binding memory binding) private view returns (bytes32) {
        bytes32 structHash;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            structHash := keccak256(binding, 0x100)
        }
        return _hashTypedDataV4(structHash);
    }

    function _checkDeadline(uint256 deadline) private view {
        // A miner can shift the time by seconds; a deadline that such a shift matters for is too short anyway.
        // slither-disable-next-line timestamp
        if (block.timestamp > deadline) revert DeadlineExpired(deadline, block.timestamp);
    }

    function _checkERC1271(address wallet, bytes32 digest, bytes calldata signature) private view {
        _checkLength(signature);
        if (!SignatureChecker.isValidERC1271SignatureNowCalldata(wallet, digest, signature)) {
            revert InvalidSignature(wallet, digest);
        }
    }

    function _versionCount(History storage history) private view returns (uint256) {
        return history.word0 & _LANE_MASK;
    }

    function _nextVersion(uint256 word0) private pure returns (uint256) {
        unchecked {
            return (word0 & _LANE_MASK) + 1;
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

    /// @dev Whether the wallet's own key signed, be there code at its address or not: an account may have both
    /// (EIP-7702). The same as OpenZeppelin's ECDSA says, which costs 230 gas more because it also says what is wrong.
    // Slices would check each of the three loads against the length again.
    // slither-disable-next-line assembly
    function _isSigned(address wallet, bytes32 digest, bytes calldata signature) private pure returns (bool) {
        if (signature.length != 65) return false;
        bytes32 r;
        uint256 s;
        uint8 v;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            r := calldataload(signature.offset)
            s := calldataload(add(signature.offset, 0x20))
            v := byte(0, calldataload(add(signature.offset, 0x40)))
        }
        if (s > _MAX_S) return false;
        // Zero for whatever is no signature, a `v` other than 27 or 28 among it.
        address signer = ecrecover(digest, v, r, bytes32(s));
        return signer == wallet && signer != address(0);
    }

    function _checkBinding(Binding memory binding) private pure {
        uint256 u = uint256(binding.encryptionKey);
        if (u & _TOP_BIT != 0 || !_isInside(u) || u == _SMALL_ORDER_U1 || u == _SMALL_ORDER_U2) {
            revert InvalidEncryptionKey(binding.encryptionKey);
        }
        // The top bit of an Ed25519 key is the sign of x, no part of y.
        uint256 y = uint256(binding.signingKey) & ~_TOP_BIT;
        if (!_isInside(y) || y == _SMALL_ORDER_Y1 || y == _SMALL_ORDER_Y2) {
            revert InvalidSigningKey(binding.signingKey);
        }
        if (binding.document == 0) revert DocumentEmpty();
        if (binding.deadline > _DEADLINE_LIMIT) revert DeadlineTooFar(binding.deadline, _DEADLINE_LIMIT);
    }

    /// @dev Whether a little-endian number below 2^255 lies from 2 to p - 2. The 20 above that have every byte but the
    /// first like p - 1, and the first not below its; so the bytes need no reversing.
    function _isInside(uint256 littleEndian) private pure returns (bool) {
        return littleEndian & ~_ONE != 0 && (littleEndian << 8 != _MINUS_ONE << 8 || littleEndian < _MINUS_ONE);
    }
}
