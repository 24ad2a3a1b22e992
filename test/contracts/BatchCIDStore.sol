// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICIDStore} from "../../contracts/interfaces/ICIDStore.sol";

/// @notice What a batch form of `anchor` would cost: the same storage, the same events, one transaction. Only measured: see
/// the gas table in docs/contracts.md for why CIDStore has none.
contract BatchCIDStore {
    uint256 private _countAndAnchorer;
    mapping(uint256 index => bytes32 digest) private _digests;

    constructor(address anchorer) {
        _countAndAnchorer = uint256(uint160(anchorer)) << 64;
    }

    function anchorMany(bytes32 prev, bytes32[] calldata digests) external returns (uint256 index) {
        uint256 packed = _countAndAnchorer;
        address anchorer = address(uint160(packed >> 64));
        if (msg.sender != anchorer) revert ICIDStore.NotAnchorer(msg.sender, anchorer);
        index = uint64(packed);
        bytes32 actual = index == 0 ? bytes32(0) : _digests[index - 1];
        if (prev != actual) revert ICIDStore.HeadMismatch(prev, actual);
        for (uint256 i = 0; i < digests.length; ++i) {
            bytes32 digest = digests[i];
            if (digest == 0 || digest == prev) revert ICIDStore.InvalidDigest(digest);
            _digests[index + i] = digest;
            emit ICIDStore.CIDAnchored(index + i, digest);
            prev = digest;
        }
        _countAndAnchorer = packed + digests.length;
    }
}
