// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice What halmos answers beyond the cheatcodes of Vm.sol. Only `npm run proofs` runs these; elsewhere nobody answers.
interface Svm {
    /// @dev From here on, whatever was never written in the account's storage is arbitrary instead of zero.
    function enableSymbolicStorage(address target) external;
    /// @dev Arbitrary calls of each function of a contract that isn't a view, and calls of none.
    function createCalldata(string calldata contractName) external returns (bytes memory);
}

abstract contract SymbolicTest {
    Svm internal constant svm = Svm(address(uint160(uint256(keccak256("svm cheat code")))));
}
