// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CIDStore} from "../../../contracts/CIDStore.sol";
import {ICIDStore} from "../../../contracts/interfaces/ICIDStore.sol";
import {IKeyRegistry} from "../../../contracts/interfaces/IKeyRegistry.sol";
import {KeyRegistry} from "../../../contracts/KeyRegistry.sol";
import {Test} from "../Vm.sol";
import {Ballot} from "./Ballot.sol";

/// @notice Run as it is, on contracts of its own; with POLYGON_RPC_URL on a fork, and there with KEY_REGISTRY_ADDRESS and
/// CID_STORE_ADDRESS on the contracts that are deployed.
contract BallotTest is Test {
    /// The base point of Curve25519 and of Ed25519.
    bytes32 private constant X25519 = 0x0900000000000000000000000000000000000000000000000000000000000000;
    bytes32 private constant ED25519 = 0x5866666666666666666666666666666666666666666666666666666666666666;
    /// An empty dag-cbor map, and another one-byte block.
    bytes private constant MANIFEST = hex"a0";
    bytes private constant OTHER = hex"80";

    IKeyRegistry private registry;
    ICIDStore private store;
    address private alice = vm.addr(uint256(keccak256("Alice, who votes")));
    address private bob = vm.addr(uint256(keccak256("Bob, who comes too late")));
    uint256 private discussion;

    function setUp() public {
        string memory url = vm.envOr("POLYGON_RPC_URL", string(""));
        if (bytes(url).length != 0) {
            vm.createSelectFork(url);
            registry = IKeyRegistry(vm.envOr("KEY_REGISTRY_ADDRESS", address(0)));
            store = ICIDStore(vm.envOr("CID_STORE_ADDRESS", address(0)));
        }
        if (address(registry) == address(0)) registry = new KeyRegistry();
        if (address(store) == address(0)) store = new CIDStore(address(this), alice);
        vm.roll(block.number + 10);
        _register(alice);
        discussion = _anchor(MANIFEST);
    }

    function test_aWalletWithAKeyVotesOnce() public {
        Ballot ballot = _call();
        vm.expectEmit(address(ballot));
        emit Ballot.Voted(alice, true, 1);
        vm.prank(alice);
        ballot.vote(true);
        vm.expectRevert(abi.encodeWithSelector(Ballot.AlreadyVoted.selector, alice));
        vm.prank(alice);
        ballot.vote(false);
        vm.assertEq(ballot.yes(), 1);
        vm.assertEq(ballot.no(), 0);
    }

    function test_aKeyThatCameAfterTheSnapshotGivesNoVote() public {
        Ballot ballot = _call();
        _register(bob);
        vm.roll(block.number + 10);
        vm.expectRevert(abi.encodeWithSelector(Ballot.NoKeyAtSnapshot.selector, bob, ballot.snapshotBlock()));
        vm.prank(bob);
        ballot.vote(true);
    }

    /// In the block of the deployment itself the answer of `keyAt` may still change, so it does not count.
    function test_aKeyOfTheSameBlockGivesNoVote() public {
        vm.roll(block.number + 1);
        _register(bob);
        Ballot ballot = new Ballot(registry, store, discussion, block.timestamp + 1 days);
        vm.expectRevert(abi.encodeWithSelector(Ballot.NoKeyAtSnapshot.selector, bob, ballot.snapshotBlock()));
        vm.prank(bob);
        ballot.vote(true);
    }

    function test_aKeyThatWasRevokedBeforeGivesNoVote() public {
        vm.prank(alice);
        registry.revoke();
        Ballot ballot = _call();
        vm.expectRevert(abi.encodeWithSelector(Ballot.NoKeyAtSnapshot.selector, alice, ballot.snapshotBlock()));
        vm.prank(alice);
        ballot.vote(true);
    }

    function test_aKeyThatWasRevokedAfterwardsStillGivesOne() public {
        Ballot ballot = _call();
        vm.prank(alice);
        registry.revoke();
        vm.prank(alice);
        ballot.vote(false);
        vm.assertEq(ballot.no(), 1);
    }

    function test_takesNoVoteWhenItIsClosed() public {
        Ballot ballot = _call();
        vm.warp(ballot.closesAt());
        vm.expectRevert(abi.encodeWithSelector(Ballot.Closed.selector, ballot.closesAt(), block.timestamp));
        vm.prank(alice);
        ballot.vote(true);
    }

    function test_isAboutAnEntryThatIsThere() public {
        uint256 count = store.count();
        vm.expectRevert(abi.encodeWithSelector(Ballot.UnknownEntry.selector, count, count));
        new Ballot(registry, store, count, block.timestamp + 1 days);
    }

    function test_isAboutTheSameEntryWhateverIsAnchoredLater() public {
        Ballot ballot = _call();
        string memory cid = ballot.discussionCID();
        _anchor(OTHER);
        vm.assertEq(bytes(ballot.discussionCID()), bytes(cid));
        vm.assertTrue(ballot.isDiscussion(MANIFEST));
        vm.assertFalse(ballot.isDiscussion(OTHER), "another block");
    }

    /// @dev A ballot, some blocks after what was done before.
    function _call() private returns (Ballot) {
        vm.roll(block.number + 10);
        return new Ballot(registry, store, discussion, block.timestamp + 1 days);
    }

    /// @dev As a contract wallet, whose own call needs no signature; on a fork, too, a test may speak for anyone.
    function _register(address wallet) private {
        // Taken before the prank: sha256 is a call too, and the next call is the one that is made as somebody else.
        bytes32 document = sha256("the key document");
        vm.etch(wallet, hex"00");
        vm.prank(wallet);
        registry.register(X25519, ED25519, document, 0, "");
    }

    function _anchor(bytes memory manifest) private returns (uint256 index) {
        bytes32 head = store.head();
        bytes32 digest = sha256(manifest);
        address anchorer = store.anchorer();
        vm.prank(anchorer);
        return store.anchor(head, digest);
    }
}
