// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title The log of manifests: an append-only list of CIDs, written by one operator and readable by anyone
/// @notice Every entry is either a canonical CID (dag-cbor, sha2-256, CIDv1 in lower-case base32), kept as its 32-byte
/// digest, or any other string of 1 to 128 bytes, kept as it is. Nothing stored here is ever changed or removed: there is
/// no proxy, no pause and no function that writes to an existing entry.
///
/// What a caller may rely on: `cids(i)` returns exactly the bytes that were stored, for ever; two different strings never
/// share an entry's stored form; `count()` only grows, by one per successful `storeCID` or `anchor`.
///
/// What a watcher may rely on: each entry emits exactly one `CIDAnchored` or `CIDStoredVerbatim` in the transaction that
/// stores it. Their `index` counts both together, from 0, without gaps, in log order, and none lies before
/// `deployedAtBlock()`. So a watcher that has seen the indices 0 to `count() - 1` has seen everything, and `head()` is the
/// fold of all events: the last event's `digest`, or the Keccak-256 of its `cid`. An entry proves what the operator said,
/// and in which order; it proves nothing about the content behind the CID.
interface ICIDStore {
    /// @notice A canonical CID became entry `index`, by `anchor` or by `storeCID`; `digest` is the SHA-256 in it.
    event CIDAnchored(uint256 indexed index, bytes32 indexed digest);

    /// @notice A string that is not a canonical CID (or one whose digest is zero) became entry `index`, by `storeCID`.
    event CIDStoredVerbatim(uint256 indexed index, string cid);

    /// @notice The account that may call `anchor` is `newAnchorer` from here on; zero means that nobody may.
    /// Emitted by the constructor too, so the events alone tell who could anchor at any time.
    event AnchorerChanged(address indexed previousAnchorer, address indexed newAnchorer);

    /// @notice The log has moved on: the caller built on `expected`, but `head()` is `actual`. Nothing was stored.
    error HeadMismatch(bytes32 expected, bytes32 actual);

    /// @notice Only the anchorer may anchor; the owner can change who that is.
    error NotAnchorer(address caller, address anchorer);

    /// @notice `anchor` takes no zero digest (zero stands for "empty" in `head()`) and none that is the head already
    /// (the same call could then succeed twice).
    error InvalidDigest(bytes32 digest);

    /// @notice An entry has at least one byte.
    error CIDEmpty();

    /// @notice An entry has at most `limit` bytes.
    error CIDTooLong(uint256 length, uint256 limit);

    /// @notice There is no entry `index` yet; the last one is `count - 1`.
    error IndexOutOfRange(uint256 index, uint256 count);

    /// @notice A log without an owner could never replace a lost or stolen anchorer key.
    error RenouncingDisabled();

    /// @notice Appends `cid` as it is. Only the owner; for an operator's schedule use `anchor`, which can't store twice.
    /// @dev A canonical CID is stored as its digest (about 55,000 gas); the stored form is chosen by the string alone, so
    /// a caller sees no difference in `cids`.
    function storeCID(string calldata cid) external;

    /// @notice Appends the canonical CID with this `digest` if, and only if, `prev` is the head: of any number of callers
    /// that build on the same head, one succeeds and the others revert with `HeadMismatch`. Only the anchorer.
    /// @param prev What the caller believes `head()` to be; zero for an empty log.
    /// @param digest The SHA-256 of a dag-cbor block; not zero, and not `prev`.
    /// @return index The new entry's.
    function anchor(bytes32 prev, bytes32 digest) external returns (uint256 index);

    /// @notice Makes `newAnchorer` the anchorer at once, so that a lost or stolen key is useless from this transaction on.
    /// Only the owner. Zero switches `anchor` off; `storeCID` keeps working.
    function setAnchorer(address newAnchorer) external;

    /// @notice Entry `index`, byte for byte as it was stored (for `anchor`: the canonical CID with that digest).
    function cids(uint256 index) external view returns (string memory);

    /// @notice How many entries there are; also the next entry's index.
    function count() external view returns (uint256);

    /// @notice Zero when the log is empty; else the last entry's digest, or the Keccak-256 of its bytes if it is verbatim.
    function head() external view returns (bytes32);

    /// @notice The account that may call `anchor`; zero if nobody may.
    function anchorer() external view returns (address);

    /// @notice The block of the deployment: no event of this contract lies before it.
    function deployedAtBlock() external view returns (uint256);
}
