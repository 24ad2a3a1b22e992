// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Which public keys a wallet has bound itself to, and since when
/// @notice Per wallet an append-only list of versions, numbered from 1. A version is a pair of public keys with the
/// document that holds the sealed private part, or a tombstone that says "no key from here on". Nobody owns this
/// contract: only a wallet, or a signature of that wallet, adds a version to it, and nothing is ever changed, removed or
/// back-dated.
///
/// What a caller may rely on: a version, once read, stays as it is; `registeredAtBlock` never falls from one version to
/// the next; `keyAt(wallet, b)` for a block `b` in the past never changes its answer. An encryption key is a canonical
/// X25519 u-coordinate of no small order. Keys are the bare 32 bytes of RFC 7748 and RFC 8032, with no prefix that says
/// which kind they are, so there is none to get wrong: the kind is the argument's place, and the wallet's signature
/// covers it by name. What is refused is a set top bit in an X25519 key, a number of 2^255 - 19 or more in either, and
/// every key of small order. Not checked here, because it can't be at a sane price: that a signing key is a point of the
/// curve in its prime-order subgroup, that the document exists and is sealed as the protocol says. A reader checks these
/// before it uses a key.
///
/// A binding is *signed* when the signature is the wallet's own ECDSA signature over it: 65 bytes, the lower s, v 27 or
/// 28, and a deadline of at most 2^53 - 1. An account without code can only register with a signed binding. A wallet
/// with code may do without, by calling itself or by ERC-1271, until it has signed one; from then on each of its later
/// bindings must be signed, tombstones between them or not. So of a wallet that ever signed, a reader believes no key
/// that it did not sign.
///
/// What a watcher may rely on: each new version emits exactly one `KeyRegistered` or `KeyRevoked` in the transaction
/// that creates it. Their `index` counts both together, over all wallets, from 0, without gaps, in log order, and none
/// lies before `deployedAtBlock()`; so a watcher that has seen 0 to `count() - 1` has seen everything. A wallet's
/// versions appear in order: 1, 2, 3.
///
/// The signing key, the signature and the deadline live in the event only. There, the signing key costs about 800 gas
/// (calldata and log); in storage it would cost 22,100 more, and no contract needs it: who verifies a message reads the
/// event anyway. The signature and its deadline cost about 3,200 gas in the event, and earn them: a reader checks the
/// binding against the wallet's own signature, so that a lying RPC can withhold a key of a wallet that signs, but can't
/// invent one once the wallet has signed.
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
    /// @param encryptionKey X25519, canonical (RFC 7748) and of no small order.
    /// @param signingKey Ed25519 (RFC 8032), y below the field prime and of no small order. Not checked to be on the
    /// curve.
    /// @param document The SHA-256 of the key document, not zero.
    /// @param deadline As signed; at most 2^53 - 1. Enforced on chain when the registration was relayed, and only then.
    /// @param signature Over `KeyBinding`. If the wallet had no code, or has signed an earlier version, it is the
    /// wallet's ECDSA signature; otherwise it may be that, or what ERC-1271 took, or, when the wallet itself called,
    /// anything at all.
    /// @param hasCode Whether the wallet had code. Try `ecrecover` in any case: an account with EIP-7702 code has code
    /// and signs with its key.
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

    /// @notice Not below 2^255 - 19 when read as little-endian, or one of the five u-coordinates of small order, zero
    /// among them.
    error InvalidEncryptionKey(bytes32 encryptionKey);

    /// @notice y (the sign bit aside) is not below 2^255 - 19, or one of the five of points of small order.
    error InvalidSigningKey(bytes32 signingKey);

    /// @notice A key needs the digest of its document.
    error DocumentEmpty();

    /// @notice The signature has more bytes than a log should carry.
    error SignatureTooLong(uint256 length, uint256 limit);

    /// @notice The signature was good up to and including `deadline`; this block's time is `timestamp`.
    error DeadlineExpired(uint256 deadline, uint256 timestamp);

    /// @notice A binding's deadline is at most 2^53 - 1: `limit`. Readers count a later one as not signed.
    error DeadlineTooFar(uint256 deadline, uint256 limit);

    /// @notice Not an ECDSA signature of `wallet` over `digest`, and nothing else will do: the wallet has no code, or it
    /// has signed a version before. `digest` covers the version that this call would create.
    error BindingNotSigned(address wallet, bytes32 digest);

    /// @notice Neither an ECDSA signature of `wallet` over `digest` nor one that the wallet's ERC-1271 code accepts.
    /// Also the answer to a replay: `digest` covers the version that this call would create.
    error InvalidSignature(address wallet, bytes32 digest);

    /// @notice The wallet's latest version, `version`, is a tombstone already, or it has none (0).
    error NothingToRevoke(address wallet, uint256 version);

    /// @notice The wallet has the versions 1 to `versionCount`.
    error UnknownVersion(address wallet, uint256 version, uint256 versionCount);

    /// @notice Binds the calling wallet to a pair of keys. An account without code, and a wallet that has signed a
    /// version before, must give its ECDSA signature, for readers who don't trust their RPC. A contract wallet may leave
    /// it empty: the call is its proof. That the deadline is not over is not checked.
    /// @param signature At most 2,048 bytes; over `KeyBinding(address wallet,string purpose,uint256 version,bytes32
    /// encryptionKey,bytes32 signingKey,bytes32 document,uint256 deadline)`, where `version` is `versionCount(wallet) +
    /// 1` and `purpose` is: Use this key for my DMTP messages from now on. Whoever made it can read what others send me
    /// and write in my name. Only sign this in an application that you trust with that.
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
    /// @param signature As for `register`: 65 bytes of ECDSA with the lower s; or, of a wallet that has never given one,
    /// whatever its ERC-1271 code takes. ECDSA is tried first, so an account with EIP-7702 code needs no ERC-1271. It is
    /// good for one call.
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

    /// @notice Ends the wallet's current key with its signature over `KeyRevocation(address wallet,string
    /// purpose,uint256 version,uint256 deadline)`; anyone may call and pay. `version` is the tombstone's, and `purpose`
    /// is: Revoke all my DMTP keys, for ever. Messages of mine that are not anchored yet will be rejected, and nobody
    /// can write to me until I register a new key. ECDSA or ERC-1271, whatever the wallet has signed before: a tombstone
    /// puts no key in the place of another.
    /// @return version The tombstone's.
    function revokeFor(address wallet, uint256 deadline, bytes calldata signature) external returns (uint256 version);

    /// @notice How many versions `wallet` has, tombstones included; 0 for a wallet that never registered.
    function versionCount(address wallet) external view returns (uint256);

    /// @notice A version of `wallet`, for ever the same; reverts with `UnknownVersion` if there is none yet.
    /// @param version From 1.
    function keyOf(address wallet, uint256 version) external view returns (KeyVersion memory);

    /// @notice The version of `wallet` in force at the end of block `blockNumber`: its latest with `registeredAtBlock`
    /// not above that. For the current block, or one to come, the answer may still change.
    /// @return version 0 when there was none; `key` is then all zero.
    /// @return key A tombstone (`encryptionKey` zero) if the wallet had no key then.
    function keyAt(address wallet, uint256 blockNumber) external view returns (uint256 version, KeyVersion memory key);

    /// @notice How many events of this contract there have been; also the next one's index.
    function count() external view returns (uint256);

    /// @notice The block of the deployment: no event of this contract lies before it.
    function deployedAtBlock() external view returns (uint256);
}
