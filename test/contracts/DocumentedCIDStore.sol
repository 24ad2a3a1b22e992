// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

/// @notice The contract as DMTP's documentation first gave it: what CIDStore is measured against.
contract DocumentedCIDStore is Ownable {
    string[] public cids;

    constructor(address initialOwner) Ownable(initialOwner) {}

    function storeCID(string calldata cid) external onlyOwner {
        cids.push(cid);
    }
}
