// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {CIDStore} from "../../contracts/CIDStore.sol";
import {ICIDStore} from "../../contracts/interfaces/ICIDStore.sol";
import {DocumentedCIDStore} from "./DocumentedCIDStore.sol";
import {Test, Vm} from "./Vm.sol";

contract CIDStoreTest is Test {
    address private constant OWNER = address(0x0111);
    address private constant ANCHORER = address(0x0222);
    address private constant STRANGER = address(0x0333);

    bytes32 private constant DIGEST = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;
    string private constant CID = "bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    string private constant ZERO_CID = "bafyreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    string private constant RAW_CID = "bafkreiflvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvm";

    CIDStore private store;

    function setUp() public {
        vm.roll(1234);
        store = new CIDStore(OWNER, ANCHORER);
        vm.roll(5678);
    }

    // Deployment

    function test_startsEmptyAndKnowsItsBlock() public view {
        vm.assertEq(store.count(), 0);
        vm.assertEq(store.head(), 0);
        vm.assertEq(store.owner(), OWNER);
        vm.assertEq(store.anchorer(), ANCHORER);
        vm.assertEq(store.deployedAtBlock(), 1234);
    }

    function test_deploymentAnnouncesTheAnchorer() public {
        vm.recordLogs();
        new CIDStore(OWNER, ANCHORER);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        // The first is OpenZeppelin's OwnershipTransferred.
        vm.assertEq(logs.length, 2);
        vm.assertEq(logs[1].topics[0], ICIDStore.AnchorerChanged.selector);
        vm.assertEq(logs[1].topics[1], 0);
        vm.assertEq(logs[1].topics[2], bytes32(uint256(uint160(ANCHORER))));
    }

    function test_deploymentNeedsAnOwner() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        new CIDStore(address(0), ANCHORER);
    }

    // storeCID

    function test_storesACanonicalCIDAsItsDigest() public {
        _expectAnchored(0, DIGEST);
        _store(CID);
        vm.assertEq(store.cids(0), CID);
        vm.assertEq(store.head(), DIGEST);
        vm.assertEq(store.count(), 1);
    }

    function test_storesAnythingElseVerbatim() public {
        _expectVerbatim(0, RAW_CID);
        _store(RAW_CID);
        vm.assertEq(store.cids(0), RAW_CID);
        vm.assertEq(store.head(), keccak256(bytes(RAW_CID)));
        vm.assertEq(store.count(), 1);
    }

    function test_storesTheCIDWithTheZeroDigestVerbatim() public {
        _expectVerbatim(0, ZERO_CID);
        _store(ZERO_CID);
        vm.assertEq(store.cids(0), ZERO_CID);
        vm.assertEq(store.head(), keccak256(bytes(ZERO_CID)));
    }

    function test_storesTheSameCIDAgainAsAnotherEntry() public {
        _store(CID);
        _expectAnchored(1, DIGEST);
        _store(CID);
        vm.assertEq(store.count(), 2);
        vm.assertEq(store.cids(1), CID);
    }

    function test_storesOneTo128Bytes() public {
        string memory longest = string(new bytes(128));
        _store("x");
        _store(longest);
        vm.assertEq(store.cids(0), "x");
        vm.assertEq(store.cids(1), longest);
    }

    function test_refusesAnEmptyCID() public {
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.CIDEmpty.selector));
        _store("");
    }

    function test_refusesACIDOf129Bytes() public {
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.CIDTooLong.selector, 129, 128));
        _store(string(new bytes(129)));
    }

    function test_onlyTheOwnerStores() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, ANCHORER));
        vm.prank(ANCHORER);
        store.storeCID(CID);
    }

    // anchor

    function test_anchorsFromTheEmptyHeadOn() public {
        _expectAnchored(0, DIGEST);
        vm.assertEq(_anchor(0, DIGEST), 0);
        vm.assertEq(store.cids(0), CID);
        _expectAnchored(1, bytes32(uint256(7)));
        vm.assertEq(_anchor(DIGEST, bytes32(uint256(7))), 1);
        vm.assertEq(store.head(), bytes32(uint256(7)));
        vm.assertEq(store.count(), 2);
    }

    function test_anchorsOnTopOfAVerbatimEntry() public {
        _store(RAW_CID);
        vm.assertEq(_anchor(keccak256(bytes(RAW_CID)), DIGEST), 1);
    }

    function test_ofTwoAnchorsOnOneHeadTheSecondFails() public {
        _anchor(0, DIGEST);
        bytes32 other = bytes32(uint256(7));
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.HeadMismatch.selector, 0, DIGEST));
        _anchor(0, other);
        vm.assertEq(store.count(), 1);
    }

    function test_refusesAWrongHeadOfAnEmptyLog() public {
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.HeadMismatch.selector, DIGEST, 0));
        _anchor(DIGEST, bytes32(uint256(7)));
    }

    function test_refusesTheZeroDigest() public {
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.InvalidDigest.selector, 0));
        _anchor(0, 0);
        _anchor(0, DIGEST);
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.InvalidDigest.selector, 0));
        _anchor(DIGEST, 0);
    }

    function test_refusesTheHeadAsItsOwnSuccessor() public {
        _anchor(0, DIGEST);
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.InvalidDigest.selector, DIGEST));
        _anchor(DIGEST, DIGEST);
    }

    function test_onlyTheAnchorerAnchors() public {
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.NotAnchorer.selector, OWNER, ANCHORER));
        vm.prank(OWNER);
        store.anchor(0, DIGEST);
    }

    // The roles

    function test_theOwnerReplacesTheAnchorerAtOnce() public {
        _anchor(0, DIGEST);
        vm.expectEmit(address(store));
        emit ICIDStore.AnchorerChanged(ANCHORER, STRANGER);
        vm.prank(OWNER);
        store.setAnchorer(STRANGER);
        vm.assertEq(store.anchorer(), STRANGER);
        vm.assertEq(store.count(), 1);
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.NotAnchorer.selector, ANCHORER, STRANGER));
        _anchor(DIGEST, bytes32(uint256(7)));
        vm.prank(STRANGER);
        vm.assertEq(store.anchor(DIGEST, bytes32(uint256(7))), 1);
        vm.assertEq(store.anchorer(), STRANGER);
    }

    function test_withoutAnAnchorerNobodyAnchors() public {
        vm.prank(OWNER);
        store.setAnchorer(address(0));
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.NotAnchorer.selector, ANCHORER, address(0)));
        _anchor(0, DIGEST);
        _store(CID);
        vm.assertEq(store.count(), 1);
    }

    function test_onlyTheOwnerReplacesTheAnchorer() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, ANCHORER));
        vm.prank(ANCHORER);
        store.setAnchorer(ANCHORER);
    }

    function test_ownershipPassesInTwoSteps() public {
        vm.prank(OWNER);
        store.transferOwnership(STRANGER);
        vm.assertEq(store.owner(), OWNER);
        vm.assertEq(store.pendingOwner(), STRANGER);
        _store(CID);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, ANCHORER));
        vm.prank(ANCHORER);
        store.acceptOwnership();
        vm.prank(STRANGER);
        store.acceptOwnership();
        vm.assertEq(store.owner(), STRANGER);
        vm.assertEq(store.pendingOwner(), address(0));
        vm.assertEq(store.anchorer(), ANCHORER);
        vm.assertEq(store.count(), 1);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, OWNER));
        _store(CID);
    }

    function test_ownershipIsNeverRenounced() public {
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.RenouncingDisabled.selector));
        vm.prank(OWNER);
        store.renounceOwnership();
        vm.assertEq(store.owner(), OWNER);
    }

    // Reading

    function test_refusesAnIndexThatIsNotThereYet() public {
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.IndexOutOfRange.selector, 0, 0));
        store.cids(0);
        _store(CID);
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.IndexOutOfRange.selector, 1, 1));
        store.cids(1);
    }

    // Properties

    function testFuzz_anyStringRoundTrips(string memory cid) public {
        uint256 length = bytes(cid).length;
        vm.assume(length != 0 && length <= 128);
        _checkStored(cid);
    }

    function testFuzz_anyBytesOfACIDsLengthRoundTrip(bytes32 a, bytes27 b) public {
        _checkStored(string(abi.encodePacked(a, b)));
    }

    function testFuzz_anyBytesBehindThePrefixRoundTrip(bytes32 a, bytes20 b) public {
        _checkStored(string(abi.encodePacked("bafyrei", a, b)));
    }

    /// @dev What the contract of the documentation gives back, ours gives back; that is what "the documented ABI" promises.
    function testFuzz_storesWhatTheDocumentedContractStores(string memory cid) public {
        uint256 length = bytes(cid).length;
        vm.assume(length != 0 && length <= 128);
        DocumentedCIDStore documented = new DocumentedCIDStore(OWNER);
        vm.prank(OWNER);
        documented.storeCID(cid);
        _store(cid);
        vm.assertEq(store.cids(0), documented.cids(0));
    }

    function testFuzz_refusesWhatIsTooLong(uint256 length) public {
        length = bound(length, 129, 2000);
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.CIDTooLong.selector, length, 128));
        _store(string(new bytes(length)));
    }

    function testFuzz_anchoredDigestsReadAsCIDsThatStoreAsTheSameDigest(bytes32 digest) public {
        vm.assume(digest != 0);
        _anchor(0, digest);
        _expectAnchored(1, digest);
        _store(store.cids(0));
        vm.assertEq(store.cids(1), store.cids(0));
    }

    function testFuzz_anchorsOnlyOnTheHead(bytes32 first, bytes32 prev, bytes32 digest) public {
        vm.assume(first != 0 && digest != 0 && digest != prev && prev != first);
        _anchor(0, first);
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.HeadMismatch.selector, prev, first));
        _anchor(prev, digest);
    }

    function testFuzz_strangersChangeNothing(address caller) public {
        vm.assume(caller != OWNER && caller != ANCHORER);
        bytes memory notOwner = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, caller);
        vm.expectRevert(notOwner);
        vm.prank(caller);
        store.storeCID(CID);
        vm.expectRevert(abi.encodeWithSelector(ICIDStore.NotAnchorer.selector, caller, ANCHORER));
        vm.prank(caller);
        store.anchor(0, DIGEST);
        vm.expectRevert(notOwner);
        vm.prank(caller);
        store.setAnchorer(caller);
        vm.expectRevert(notOwner);
        vm.prank(caller);
        store.transferOwnership(caller);
        vm.assertEq(store.count(), 0);
        vm.assertEq(store.anchorer(), ANCHORER);
    }

    function _checkStored(string memory cid) private {
        _store(cid);
        _store(CID);
        vm.assertEq(store.cids(0), cid);
        vm.assertEq(store.cids(1), CID);
    }

    function _store(string memory cid) private {
        vm.prank(OWNER);
        store.storeCID(cid);
    }

    function _anchor(bytes32 prev, bytes32 digest) private returns (uint256) {
        vm.prank(ANCHORER);
        return store.anchor(prev, digest);
    }

    function _expectAnchored(uint256 index, bytes32 digest) private {
        vm.expectEmit(address(store));
        emit ICIDStore.CIDAnchored(index, digest);
    }

    function _expectVerbatim(uint256 index, string memory cid) private {
        vm.expectEmit(address(store));
        emit ICIDStore.CIDStoredVerbatim(index, cid);
    }
}
