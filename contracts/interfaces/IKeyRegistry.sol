// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Which public keys a wallet has bound itself to, and since when
/// @notice Per wallet an append-only list of versions, numbered from 1. A version is a pair of public keys with the
/// document that holds the sealed private part, or a tombstone that says "no key from here on". Nobody owns this contract:
/// only a wallet, or a signature of that wallet, adds a version to it, and nothing is ever changed, removed or back-dated.
///
/// What a caller may rely on: a version, once read, stays as it is; `registeredAtBlock` never falls from one version to
/// the next; `keyAt(wallet, b)` for a block `b` in the past never changes its answer. An encryption key is a canonical
/// X25519 u-coordinate other than zero. Keys are the bare 32 bytes of RFC 7748 and RFC 8032, with no prefix that says which
/// kind they are, so there is none to get wrong: the kind is the argument's place, and the wallet's signature covers it by
/// name. What is refused is zero, a set top bit in an X25519 key, and a number of 2^255 - 19 or more in either. Not checked
/// here, because it can't be at a sane price: that a key is not of small order, that a signing key is a point of the curve
/// in its prime-order subgroup, that the document exists and is sealed as the protocol says. A reader checks these before
/// it uses a key.
///
/// What a watcher may rely on: each new version emits exactly one `KeyRegistered` or `KeyRevoked` in the transaction that
/// creates it. Their `index` counts both together, over all wallets, from 0, without gaps, in log order, and none lies
/// before `deployedAtBlock()`; so a watcher that has seen 0 to `count() - 1` has seen everything. A wallet's versions
/// appear in order: 1, 2, 3.
///
/// The signing key, the signature and the deadline live in the event only. There, the signing key costs about 800 gas
/// (calldata and log); in storage it would cost 22,100 more, and no contract needs it: who verifies a message reads
/// the event anyway. The signature and its deadline cost about 3,200 gas in the event, and earn them: a reader checks the
/// binding against the wallet's own signature, so that a lying RPC can withhold a key but can't invent one.
interface IKeyRegistry {
    /// @notice A wallet's key pair as of one version; a tombstone has `encryptionKey` and `document` zero.
    struct KeyVersion {
        /// The X25519 public key, in the 32 bytes of RFC 7748; zero for a tombstone.
        bytes32 encryptionKey;
        /// The SHA-256 of the key document, a dag-cbor block; zero for a tombstone.
        bytes32 document;
        /// The block in which the version was created.
        uint256 registeredAtBlock;
    }

    // An indexed member costs 375 gas, and nobody searches for a version, a deadline or hasCode.
    /* solhint-disable gas-indexed-events */

    /// @notice `wallet` bound itself to this pair of keys, which is its version `version`.
    /// @param index Counts all events of this contract, from 0.
    /// @param wallet Whose keys these are.
    /// @param version 1 for a wallet's first; then one more each time.
    /// @param encryptionKey X25519, canonical (RFC 7748) and not zero.
    /// @param signingKey Ed25519 (RFC 8032), y below the field prime and not all zero. Not checked to be on the curve.
    /// @param document The SHA-256 of the key document, not zero.
    /// @param deadline As signed. Enforced on chain when the registration was relayed, and only then.
    /// @param signature Over `KeyBinding`. Checked on chain when the registration was relayed, and only then: when the
    /// wallet itself called, it may be empty or wrong, and the reader decides.
    /// @param hasCode Whether the wallet had code. If not, the signature can be checked with nothing but `ecrecover`. If so,
    /// try that first all the same: an account with EIP-7702 code has code and signs with its key; ERC-1271 is for the
    /// others. False for a contract that registers from its constructor.
    event KeyRegistered(
        uint256 indexed index,
        address indexed wallet,
        uint256 version,
        bytes32 encryptionKey,
        bytes32 signingKey,
        bytes32 document,
        uint256 deadline,
        bytes signature,
        bool hasCode
    );

    /// @notice `wallet` withdrew its keys: `version` is a tombstone. A later version may bind it to a new pair; what was
    /// signed under an earlier version, before this block, stays valid.
    event KeyRevoked(uint256 indexed index, address indexed wallet, uint256 version);

    /* solhint-enable gas-indexed-events */

    /// @notice Not a canonical X25519 u-coordinate: zero, or not below 2^255 - 19 when read as little-endian.
    error InvalidEncryptionKey(bytes32 encryptionKey);

    /// @notice Not a canonical Ed25519 encoding: zero, or y (the sign bit aside) not below 2^255 - 19.
    error InvalidSigningKey(bytes32 signingKey);

    /// @notice A key needs the digest of its document.
    error DocumentEmpty();

    /// @notice The signature has more bytes than a log should carry.
    error SignatureTooLong(uint256 length, uint256 limit);

    /// @notice The signature was good up to and including `deadline`; this block's time is `timestamp`.
    error DeadlineExpired(uint256 deadline, uint256 timestamp);

    /// @notice Neither an ECDSA signature of `wallet` over `digest` nor one that the wallet's ERC-1271 code accepts.
    /// Also the answer to a replay: `digest` covers the version that this call would create.
    error InvalidSignature(address wallet, bytes32 digest);

    /// @notice The wallet's latest version, `version`, is a tombstone already, or it has none (0).
    error NothingToRevoke(address wallet, uint256 version);

    /// @notice The wallet has the versions 1 to `versionCount`.
    error UnknownVersion(address wallet, uint256 version, uint256 versionCount);

    /// @notice Binds the calling wallet to a pair of keys. The call is the proof; deadline and signature are not checked,
    /// only emitted, for readers who don't trust their RPC. A contract wallet may leave the signature empty.
    /// @param signature At most 2,048 bytes; over `KeyBinding(address wallet,uint256 version,bytes32 encryptionKey,bytes32
    /// signingKey,bytes32 document,uint256 deadline)`, where `version` is `versionCount(wallet) + 1`.
    /// @return version The version created.
    function register(
        bytes32 encryptionKey,
        bytes32 signingKey,
        bytes32 document,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 version);

    /// @notice Binds `wallet` to a pair of keys with its signature; anyone may call and pay.
    /// @param deadline The last block timestamp, in seconds, at which the signature is good.
    /// @param signature As for `register`: 65 bytes of ECDSA with the lower s, or whatever the wallet's ERC-1271 code takes.
    /// ECDSA is tried first, so an account with EIP-7702 code needs no ERC-1271. It is good for one call.
    /// @return version The version created.
    function registerFor(
        address wallet,
        bytes32 encryptionKey,
        bytes32 signingKey,
        bytes32 document,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 version);

    /// @notice Ends the calling wallet's current key with a tombstone, which can't be undone, only followed.
    /// @return version The tombstone's.
    function revoke() external returns (uint256 version);

    /// @notice Ends the wallet's current key with its signature over `KeyRevocation(address wallet,uint256 version,uint256
    /// deadline)`, where `version` is the tombstone's; anyone may call and pay.
    /// @return version The tombstone's.
    function revokeFor(address wallet, uint256 deadline, bytes calldata signature) external returns (uint256 version);

    /// @notice How many versions `wallet` has, tombstones included; 0 for a wallet that never registered.
    function versionCount(address wallet) external view returns (uint256);

    /// @notice A version of `wallet`, for ever the same; reverts with `UnknownVersion` if there is none yet.
    /// @param version From 1.
    function keyOf(address wallet, uint256 version) external view returns (KeyVersion memory);

    /// @notice The version of `wallet` in force at the end of block `blockNumber`: its latest with `registeredAtBlock` not
    /// above that. For the current block, or one to come, the answer may still change.
    /// @return version 0 when there was none; `key` is then all zero.
    /// @return key A tombstone (`encryptionKey` zero) if the wallet had no key then.
    function keyAt(address wallet, uint256 blockNumber) external view returns (uint256 version, KeyVersion memory key);

    /// @notice How many events of this contract there have been; also the next one's index.
    function count() external view returns (uint256);

    /// @notice The block of the deployment: no event of this contract lies before it.
    function deployedAtBlock() external view returns (uint256);
}
