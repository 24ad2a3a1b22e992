// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CIDStore} from "../../contracts/CIDStore.sol";
import {SymbolicTest} from "./Svm.sol";
import {Test} from "./Vm.sol";

/// @notice Proofs by halmos (`npm run proofs`): one call, by anyone, in any state of the store. A new store is empty, and each
/// call takes a state in which these hold to another one; so they hold after any number of calls.
contract CIDStoreSymbolic is Test, SymbolicTest {
    // The storage's layout: Ownable has slot 0, Ownable2Step slot 1.
    uint256 private constant DIGESTS = 3;
    uint256 private constant VERBATIM = 4;

    CIDStore private store = CIDStore(address(0x570e));

    function setUp() public {
        // The code alone: what a constructor has written would not be arbitrary.
        vm.etch(address(store), address(new CIDStore(address(1), address(2))).code);
        svm.enableSymbolicStorage(address(store));
    }

    /// @dev The count moves by one with the head, and only for the anchorer, on the head, with a digest of its own.
    function check_anchorMovesHeadAndCountTogether(address caller, bytes32 prev, bytes32 digest) public {
        (uint256 count, bytes32 head) = _state();
        address anchorer = store.anchorer();
        bool isAllowed = caller == anchorer && prev == head && digest != 0 && digest != prev;
        vm.prank(caller);
        try store.anchor(prev, digest) returns (uint256 index) {
            assert(isAllowed);
            assert(index == count);
            assert(store.count() == count + 1);
            assert(store.head() == digest);
            assert(store.anchorer() == anchorer);
        } catch {
            assert(!isAllowed);
            assert(store.count() == count);
            assert(store.head() == head);
        }
    }

    /// @dev Any 59 bytes, which is what a canonical CID has: the entry is a digest or the bytes, never both.
    function check_storeCIDMovesHeadAndCountTogether(address caller, bytes32 first, bytes27 rest) public {
        (uint256 count, bytes32 head) = _state();
        address owner = store.owner();
        string memory cid = string(abi.encodePacked(first, rest));
        vm.prank(caller);
        try store.storeCID(cid) {
            assert(caller == owner);
            assert(store.count() == count + 1);
            bytes32 digest = _load(DIGESTS, count);
            if (digest != 0) assert(store.head() == digest);
            assert((digest == 0) == (_load(VERBATIM, count) != 0));
        } catch {
            assert(caller != owner);
            assert(store.count() == count);
            assert(store.head() == head);
        }
    }

    /// @dev Whatever is called, by whomever: no entry changes, and the count stays or goes up by one.
    function check_noCallChangesAnEntry(address caller, uint256 index) public {
        (uint256 count, ) = _state();
        vm.assume(index < count);
        bytes32 digest = _load(DIGESTS, index);
        bytes32 verbatim = _load(VERBATIM, index);
        bytes memory data = svm.createCalldata("CIDStore");
        vm.prank(caller);
        (bool ok, ) = address(store).call(data);
        assert(_load(DIGESTS, index) == digest);
        assert(_load(VERBATIM, index) == verbatim);
        uint256 counted = store.count();
        assert(counted == count || (ok && counted == count + 1));
    }

    /// @dev Nobody but the owner and the anchorer appends, and nobody but the owner says who the anchorer is.
    function check_strangersChangeNothing(address caller) public {
        (uint256 count, bytes32 head) = _state();
        address owner = store.owner();
        address anchorer = store.anchorer();
        vm.assume(caller != owner && caller != anchorer && caller != store.pendingOwner());
        bytes memory data = svm.createCalldata("CIDStore");
        vm.prank(caller);
        (bool ok, ) = address(store).call(data);
        assert(!ok);
        assert(store.count() == count && store.head() == head);
        assert(store.owner() == owner && store.anchorer() == anchorer);
    }

    /// @dev Any state in which the place of the next entry is empty, as it is from the start, and the last entry, if there
    /// is one, is a digest. (A string of any length is more than the prover can take; the invariant tests have those.)
    function _state() private view returns (uint256 count, bytes32 head) {
        count = store.count();
        vm.assume(count < type(uint64).max);
        vm.assume(_load(DIGESTS, count) == 0 && _load(VERBATIM, count) == 0);
        if (count != 0) head = _load(DIGESTS, count - 1);
        vm.assume(count == 0 || head != 0);
        assert(store.head() == head);
    }

    function _load(uint256 slot, uint256 index) private view returns (bytes32) {
        return vm.load(address(store), keccak256(abi.encode(index, slot)));
    }
}
