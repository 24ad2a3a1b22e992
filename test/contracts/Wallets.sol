// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IKeyRegistry} from "../../contracts/interfaces/IKeyRegistry.sol";

/// @notice A contract wallet that signs with its owner's key and can call the registry itself.
contract OwnedWallet is IERC1271 {
    address private immutable _OWNER;

    constructor(address owner) {
        _OWNER = owner;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (address signer, ECDSA.RecoverError err, ) = ECDSA.tryRecoverCalldata(hash, signature);
        return
            err == ECDSA.RecoverError.NoError && signer == _OWNER ? this.isValidSignature.selector : bytes4(0xffffffff);
    }

    function register(IKeyRegistry registry, bytes32 encryptionKey, bytes32 signingKey, bytes32 document) external {
        registry.register(encryptionKey, signingKey, document, 0, "");
    }
}

/// @notice Registers from its constructor, when it has no code yet.
contract EagerWallet {
    constructor(IKeyRegistry registry, bytes32 encryptionKey, bytes32 signingKey, bytes32 document) {
        registry.register(encryptionKey, signingKey, document, 0, "");
    }
}

/// @notice Code that takes every signature; it keeps nothing in storage, so an account may delegate to it.
contract OpenWallet is IERC1271 {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return this.isValidSignature.selector;
    }
}

/// @notice Answers `isValidSignature` with whatever it was made with, and reverts when that is empty.
contract OddWallet {
    bytes private _answer;

    constructor(bytes memory answer) {
        _answer = answer;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        require(_answer.length != 0, "no");
        return _answer;
    }
}
