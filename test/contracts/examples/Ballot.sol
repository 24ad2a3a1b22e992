// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {CanonicalCID} from "../../../contracts/CanonicalCID.sol";
import {ICIDStore} from "../../../contracts/interfaces/ICIDStore.sol";
import {IKeyRegistry} from "../../../contracts/interfaces/IKeyRegistry.sol";

/// @title A vote among the wallets that could be written to when it was called, about a discussion that was anchored
/// @notice An example for contract developers: what another contract may build on KeyRegistry and CIDStore.
///
/// From the registry it takes who has a vote: a wallet with a key in force at the end of the block before the deployment.
/// `keyAt` never changes its answer for a block in the past, so nobody gains or loses a vote by registering, rotating or
/// revoking a key later. A registration costs gas and nothing else: this counts wallets, not people.
///
/// From the store it takes what the vote is about: an entry of the log. Entries are never changed or removed, so an index
/// is enough to name one for ever. What is behind the CID is proved to nobody on chain; whoever has the block can show
/// with `isDiscussion` that it is the one.
contract Ballot {
    /// @notice `voter` said yes or no, by the right of its key version `keyVersion`.
    event Voted(address indexed voter, bool indexed yes, uint256 keyVersion);

    /// @notice The log has `count` entries, so there is no entry `index` to vote about.
    error UnknownEntry(uint256 index, uint256 count);

    /// @notice `voter` had no key at the end of block `snapshotBlock`: it was not registered yet, or had revoked its key.
    error NoKeyAtSnapshot(address voter, uint256 snapshotBlock);

    /// @notice `voter` has voted.
    error AlreadyVoted(address voter);

    /// @notice Votes were taken before `closesAt`; this block's time is `timestamp`.
    error Closed(uint256 closesAt, uint256 timestamp);

    /// @notice Says who has a vote.
    IKeyRegistry public immutable registry;

    /// @notice Holds what the vote is about.
    ICIDStore public immutable store;

    /// @notice Who had a key at the end of this block has a vote. It is past when the ballot begins: for the current block
    /// `keyAt` may still change its answer.
    uint256 public immutable snapshotBlock = block.number - 1;

    /// @notice The index of the entry that the vote is about.
    uint256 public immutable discussion;

    /// @notice A block timestamp, in seconds: from then on no vote is taken.
    uint256 public immutable closesAt;

    /// @notice How many have said yes.
    uint256 public yes;

    /// @notice How many have said no.
    uint256 public no;

    /// @notice Whether this wallet has said either.
    mapping(address voter => bool) public hasVoted;

    /// @param discussion_ The index of an entry that is there.
    /// @param closesAt_ In seconds.
    constructor(IKeyRegistry registry_, ICIDStore store_, uint256 discussion_, uint256 closesAt_) {
        uint256 count = store_.count();
        // An index from `count` on would let the operator choose what the vote is about after the votes are cast.
        if (discussion_ >= count) revert UnknownEntry(discussion_, count);
        registry = registry_;
        store = store_;
        discussion = discussion_;
        closesAt = closesAt_;
    }

    /// @notice Takes the calling wallet's vote, once.
    function vote(bool isYes) external {
        // A block's time may be off by seconds; a vote that such seconds decide should have been longer.
        if (block.timestamp >= closesAt) revert Closed(closesAt, block.timestamp);
        if (hasVoted[msg.sender]) revert AlreadyVoted(msg.sender);
        (uint256 version, IKeyRegistry.KeyVersion memory key) = registry.keyAt(msg.sender, snapshotBlock);
        // Zero for a wallet that was not registered (version 0), and for a tombstone (a version like any other).
        if (key.encryptionKey == 0) revert NoKeyAtSnapshot(msg.sender, snapshotBlock);
        hasVoted[msg.sender] = true;
        if (isYes) ++yes;
        else ++no;
        emit Voted(msg.sender, isYes, version);
    }

    /// @notice Where the discussion is found, on IPFS: the entry as it was stored.
    function discussionCID() public view returns (string memory) {
        return store.cids(discussion);
    }

    /// @notice Whether these bytes are the block that was anchored: the manifest itself, not what it links to.
    function isDiscussion(bytes calldata manifest) external view returns (bool) {
        return keccak256(bytes(discussionCID())) == keccak256(bytes(CanonicalCID.encode(sha256(manifest))));
    }
}
