// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CIDStore} from "../../contracts/CIDStore.sol";
import {ICIDStore} from "../../contracts/interfaces/ICIDStore.sol";
import {Test, Vm} from "./Vm.sol";

/// @notice Everything anyone can do to a store, in any order, beside a model that knows only what the events said.
contract CIDStoreHandler is Test {
    CIDStore public immutable store;

    /// What was stored, by the calls; and what a watcher makes of the events alone.
    string[] public stored;
    uint256 public eventsSeen;
    bytes32 public folded;
    address public anchorerSeen;

    constructor() {
        vm.recordLogs();
        store = new CIDStore(address(this), address(this));
        _watch();
    }

    function storeCID(string calldata cid) external {
        uint256 length = bytes(cid).length;
        try store.storeCID(cid) {
            require(length != 0 && length <= 128, "stored what is empty or too long");
            stored.push(cid);
        } catch {
            require(length == 0 || length > 128, "refused what is neither empty nor too long");
        }
        _watch();
    }

    function storeAgain(uint256 seed) external {
        if (stored.length == 0) return;
        string memory cid = store.cids(seed % stored.length);
        store.storeCID(cid);
        stored.push(cid);
        _watch();
    }

    function anchorOnHead(bytes32 digest) external {
        bytes32 prev = store.head();
        if (digest == 0 || digest == prev || store.anchorer() != address(this)) return;
        require(store.anchor(prev, digest) == stored.length, "the index is not the number of entries before");
        stored.push(store.cids(stored.length));
        _watch();
    }

    function anchorElsewhere(bytes32 prev, bytes32 digest) external {
        if (prev == store.head()) return;
        try store.anchor(prev, digest) {
            revert("anchored on what is not the head");
        } catch {}
        _watch();
    }

    function setAnchorer(bool other) external {
        store.setAnchorer(other ? address(0xbad) : address(this));
        _watch();
    }

    function act(address stranger, bytes32 digest) external {
        if (stranger == address(this) || stranger == store.anchorer()) return;
        bytes32 prev = store.head();
        vm.prank(stranger);
        try store.anchor(prev, digest) {
            revert("a stranger anchored");
        } catch {}
        vm.prank(stranger);
        try store.storeCID("x") {
            revert("a stranger stored");
        } catch {}
        _watch();
    }

    /// @dev The watcher: it demands contiguous indices and folds the head.
    function _watch() private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            Vm.Log memory log = logs[i];
            if (log.emitter != address(store)) continue;
            if (log.topics[0] == ICIDStore.AnchorerChanged.selector) {
                require(log.topics[1] == bytes32(uint256(uint160(anchorerSeen))), "the anchorers are no chain");
                anchorerSeen = address(uint160(uint256(log.topics[2])));
            } else if (log.topics[0] == ICIDStore.CIDAnchored.selector) {
                require(uint256(log.topics[1]) == eventsSeen++, "the indices have a gap");
                folded = log.topics[2];
            } else if (log.topics[0] == ICIDStore.CIDStoredVerbatim.selector) {
                require(uint256(log.topics[1]) == eventsSeen++, "the indices have a gap");
                folded = keccak256(bytes(abi.decode(log.data, (string))));
            }
        }
        vm.recordLogs();
    }

    function storedCount() external view returns (uint256) {
        return stored.length;
    }
}

contract CIDStoreInvariantTest is Test {
    CIDStoreHandler private handler;
    CIDStore private store;

    function setUp() public {
        handler = new CIDStoreHandler();
        store = handler.store();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// hardhat-config: invariant.runs = 100
    /// hardhat-config: invariant.depth = 50
    /// hardhat-config: invariant.failOnRevert = true
    function invariant_headAndCountAreTheFoldOfAllEvents() public view {
        vm.assertEq(store.count(), handler.eventsSeen());
        vm.assertEq(store.head(), handler.folded());
        vm.assertEq(store.anchorer(), handler.anchorerSeen());
        vm.assertEq(store.owner(), address(handler));
    }

    /// hardhat-config: invariant.runs = 50
    /// hardhat-config: invariant.depth = 30
    /// hardhat-config: invariant.failOnRevert = true
    function invariant_everyEntryReadsAsItWasStored() public view {
        vm.assertEq(store.count(), handler.storedCount());
        for (uint256 i = 0; i < store.count(); i++) vm.assertEq(store.cids(i), handler.stored(i));
    }
}
