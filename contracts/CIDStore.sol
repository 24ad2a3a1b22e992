// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {CanonicalCID} from "./CanonicalCID.sol";
import {ICIDStore} from "./interfaces/ICIDStore.sol";

/// @title CIDStore
/// @notice See ICIDStore for what may be relied on.
/// @dev Two roles, because they live in different places: the owner is cold (a multisig) and can do little but append and
/// replace the anchorer; the anchorer is a hot key on a server and can do nothing but append digests. Neither can touch
/// what is stored: all that a thief of either key can do to readers is to append, where everyone sees it.
contract CIDStore is ICIDStore, Ownable2Step {
    /// @dev Longer than any CID in use; bounds what a log line or a page has to show.
    uint256 private constant _VERBATIM_LIMIT = 128;

    uint256 private constant _COUNT_BITS = 64;

    /// @inheritdoc ICIDStore
    uint256 public immutable deployedAtBlock = block.number;

    /// @dev The count in the low 64 bits, the anchorer above: one slot to read and to write for every entry.
    uint256 private _countAndAnchorer;
    /// @dev Zero: the entry is in `_verbatim`.
    mapping(uint256 index => bytes32 digest) private _digests;
    mapping(uint256 index => string cid) private _verbatim;

    constructor(address initialOwner, address initialAnchorer) Ownable(initialOwner) {
        _setAnchorer(initialAnchorer);
    }

    /// @inheritdoc ICIDStore
    function anchor(bytes32 prev, bytes32 digest) external returns (uint256 index) {
        uint256 packed = _countAndAnchorer;
        if (msg.sender != _anchorerIn(packed)) revert NotAnchorer(msg.sender, _anchorerIn(packed));
        if (digest == 0 || digest == prev) revert InvalidDigest(digest);
        index = _countIn(packed);
        bytes32 actual = _headAt(index);
        if (prev != actual) revert HeadMismatch(prev, actual);
        _appendDigest(packed, digest);
    }

    /// @inheritdoc ICIDStore
    function storeCID(string calldata cid) external onlyOwner {
        uint256 packed = _countAndAnchorer;
        bytes32 digest = CanonicalCID.decode(cid);
        if (digest == 0) _appendVerbatim(packed, cid);
        else _appendDigest(packed, digest);
    }

    /// @inheritdoc ICIDStore
    function setAnchorer(address newAnchorer) external onlyOwner {
        _setAnchorer(newAnchorer);
    }

    /// @inheritdoc ICIDStore
    function cids(uint256 index) external view returns (string memory) {
        uint256 length = _countIn(_countAndAnchorer);
        // The strict form saves 3 gas and reads worse.
        // solhint-disable-next-line gas-strict-inequalities
        if (index >= length) revert IndexOutOfRange(index, length);
        bytes32 digest = _digests[index];
        return digest == 0 ? _verbatim[index] : CanonicalCID.encode(digest);
    }

    /// @inheritdoc ICIDStore
    function count() external view returns (uint256) {
        return _countIn(_countAndAnchorer);
    }

    /// @inheritdoc ICIDStore
    function head() external view returns (bytes32) {
        return _headAt(_countIn(_countAndAnchorer));
    }

    /// @inheritdoc ICIDStore
    function anchorer() external view returns (address) {
        return _anchorerIn(_countAndAnchorer);
    }

    /// @notice Always reverts: see RenouncingDisabled.
    function renounceOwnership() public pure override {
        revert RenouncingDisabled();
    }

    function _appendDigest(uint256 packed, bytes32 digest) private {
        uint256 index = _countIn(packed);
        _countAndAnchorer = _plusOne(packed);
        _digests[index] = digest;
        emit CIDAnchored(index, digest);
    }

    function _appendVerbatim(uint256 packed, string calldata cid) private {
        uint256 length = bytes(cid).length;
        if (length == 0) revert CIDEmpty();
        if (length > _VERBATIM_LIMIT) revert CIDTooLong(length, _VERBATIM_LIMIT);
        uint256 index = _countIn(packed);
        _countAndAnchorer = _plusOne(packed);
        _verbatim[index] = cid;
        emit CIDStoredVerbatim(index, cid);
    }

    function _setAnchorer(address newAnchorer) private {
        uint256 packed = _countAndAnchorer;
        _countAndAnchorer = (uint256(uint160(newAnchorer)) << _COUNT_BITS) | _countIn(packed);
        emit AnchorerChanged(_anchorerIn(packed), newAnchorer);
    }

    /// @dev The head when there are `length` entries. It isn't kept in a slot of its own: the last entry says the same, and
    /// 2,100 gas to read it beats 5,000 to write a copy.
    function _headAt(uint256 length) private view returns (bytes32 digest) {
        if (length == 0) return 0;
        digest = _digests[length - 1];
        if (digest == 0) digest = keccak256(bytes(_verbatim[length - 1]));
    }

    function _countIn(uint256 packed) private pure returns (uint256) {
        return uint64(packed);
    }

    function _anchorerIn(uint256 packed) private pure returns (address) {
        return address(uint160(packed >> _COUNT_BITS));
    }

    /// @dev One more in the count. There will never have been 2^64 transactions, so it doesn't reach the anchorer.
    function _plusOne(uint256 packed) private pure returns (uint256) {
        unchecked {
            return packed + 1;
        }
    }
}
