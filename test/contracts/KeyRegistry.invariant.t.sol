// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IKeyRegistry} from "../../contracts/interfaces/IKeyRegistry.sol";
import {KeyRegistryTest} from "./KeyRegistryTest.sol";
import {Test, Vm} from "./Vm.sol";
import {OwnedWallet} from "./Wallets.sol";

/// @notice Four wallets that register and revoke, by themselves and through relayers, sign or leave it to their code, get
/// code and lose it; and impostors who try to, in any order, beside a model that knows only what the events said.
contract KeyRegistryHandler is KeyRegistryTest {
    struct Version {
        bytes32 encryptionKey;
        bytes32 document;
        uint256 registeredAtBlock;
    }

    /// What is not indexed in `KeyRegistered`.
    struct Registered {
        uint256 version;
        bytes32 encryptionKey;
        bytes32 signingKey;
        bytes32 document;
        uint256 deadline;
        bytes signature;
        bool hasCode;
    }

    uint256 public constant WALLETS = 4;
    /// Whose signatures a wallet's code takes, while it has code.
    uint256 private constant OWNER_KEY = 0xc0de;

    uint256 public eventsSeen;
    /// What a watcher makes of the events alone.
    mapping(address wallet => Version[]) private _versions;
    /// Whether one of its events carries the wallet's own signature.
    mapping(address wallet => bool) private _hasSigned;
    /// Whose key may change in the call at hand; nobody's, most of the time.
    address private _mover;
    uint256 private _block;
    address private immutable _CODE;

    constructor() {
        setUp();
        _CODE = address(new OwnedWallet(vm.addr(OWNER_KEY)));
        _block = block.number;
        vm.recordLogs();
    }

    function walletAt(uint256 i) public pure returns (address) {
        return vm.addr(_keyAt(i));
    }

    function target() external view returns (IKeyRegistry) {
        return registry;
    }

    function versionsOf(address wallet) external view returns (Version[] memory) {
        return _versions[wallet];
    }

    /// @param isSigned By the wallet's own key; otherwise by what its code takes, if it has code.
    function register(uint256 who, bytes32 encryptionKey, bytes32 document, bool relayed, bool isSigned) external {
        _advance();
        address wallet = _move(who);
        // Below 2^248, so that hardly any is refused but zero; KeyRegistry.t.sol has the edges.
        encryptionKey = encryptionKey & ~bytes32(uint256(0xff));
        uint256 version = registry.versionCount(wallet) + 1;
        bool good = _isEncryptionKey(encryptionKey) && document != 0;
        if (!isSigned) good = good && wallet.code.length != 0 && !_hasSigned[wallet];
        bytes32 digest = _bindingDigest(wallet, version, encryptionKey, ED25519, document, NOW);
        bytes memory signature = _sign(isSigned ? _keyAt(who) : OWNER_KEY, digest);
        bytes memory call;
        if (relayed) {
            call = abi.encodeCall(registry.registerFor, (wallet, encryptionKey, ED25519, document, NOW, signature));
        } else {
            call = abi.encodeCall(registry.register, (encryptionKey, ED25519, document, NOW, signature));
            vm.prank(wallet);
        }
        (bool ok, ) = address(registry).call(call);
        require(ok == good, "took a bad key or refused a good one");
        _watch();
    }

    /// @dev Gives a wallet code, or takes it away, as EIP-7702 lets every account do.
    function delegate(uint256 who, bool hasCode) external {
        if (hasCode) _delegate(walletAt(who), _CODE);
        else vm.etch(walletAt(who), "");
    }

    function revoke(uint256 who, bool relayed) external {
        _advance();
        address wallet = _move(who);
        uint256 version = registry.versionCount(wallet) + 1;
        bool good = version > 1 && registry.keyOf(wallet, version - 1).encryptionKey != 0;
        bytes memory call = abi.encodeCall(registry.revoke, ());
        if (relayed) {
            call = abi.encodeCall(registry.revokeFor, (wallet, NOW, _signRevocation(_keyAt(who), wallet, version)));
        } else {
            vm.prank(wallet);
        }
        (bool ok, ) = address(registry).call(call);
        require(ok == good, "revoked nothing, or did not revoke a key");
        _watch();
    }

    /// @dev With another wallet's signature, or one of the wallet itself for another version.
    function impersonate(uint256 who, uint256 version, bytes calldata noise) external {
        _advance();
        address wallet = walletAt(who);
        _mover = address(0);
        uint256 next = registry.versionCount(wallet) + 1;
        version = bound(version, 1, next + 1);
        uint256 signer = version == next ? _keyAt((who % WALLETS) + 1) : _keyAt(who);
        bytes[2] memory signatures = [_signBinding(signer, wallet, version), noise];
        for (uint256 i = 0; i < 2; i++) {
            try registry.registerFor(wallet, X25519, ED25519, DOCUMENT, NOW, signatures[i]) {
                revert("an impostor registered");
            } catch {}
        }
        signatures[0] = _signRevocation(signer, wallet, version);
        for (uint256 i = 0; i < 2; i++) {
            try registry.revokeFor(wallet, NOW, signatures[i]) {
                revert("an impostor revoked");
            } catch {}
        }
        _watch();
    }

    function advance(uint8 blocks) external {
        _block += blocks;
    }

    /// @dev Cheatcodes' block numbers don't outlive the call that sets them in every runner.
    function _advance() private {
        vm.roll(_block);
    }

    function _move(uint256 who) private returns (address wallet) {
        wallet = walletAt(who);
        _mover = wallet;
    }

    /// @dev The watcher: it demands contiguous indices and versions, and that nobody's key moves but the mover's.
    function _watch() private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            Vm.Log memory log = logs[i];
            if (log.emitter != address(registry)) continue;
            require(uint256(log.topics[1]) == eventsSeen++, "the indices have a gap");
            address wallet = address(uint160(uint256(log.topics[2])));
            require(wallet == _mover, "the key of another wallet moved");
            Version[] storage versions = _versions[wallet];
            uint256 version;
            bytes32 encryptionKey;
            bytes32 document;
            if (log.topics[0] == IKeyRegistry.KeyRegistered.selector) {
                (version, encryptionKey, document) = _watchBinding(wallet, log.data);
            } else {
                require(log.topics[0] == IKeyRegistry.KeyRevoked.selector, "an unknown event");
                version = abi.decode(log.data, (uint256));
            }
            versions.push(Version(encryptionKey, document, _block));
            require(version == versions.length, "the versions have a gap");
        }
        vm.recordLogs();
    }

    /// @dev What every reader demands: the wallet's signature, unless it has code and never gave one.
    function _watchBinding(address wallet, bytes memory data) private returns (uint256, bytes32, bytes32) {
        // As ABI-encoded, a struct is what an event has, after the offset at which it begins.
        Registered memory key = abi.decode(abi.encodePacked(uint256(32), data), (Registered));
        bytes32 digest = _bindingDigest(
            wallet,
            key.version,
            key.encryptionKey,
            key.signingKey,
            key.document,
            key.deadline
        );
        (address signer, , ) = ECDSA.tryRecover(digest, key.signature);
        if (signer == wallet) _hasSigned[wallet] = true;
        else require(key.hasCode && !_hasSigned[wallet], "readers reject this key");
        return (key.version, key.encryptionKey, key.document);
    }

    function _keyAt(uint256 i) private pure returns (uint256) {
        return 0x5eed + (i % WALLETS);
    }
}

contract KeyRegistryInvariantTest is Test {
    KeyRegistryHandler private handler;

    function setUp() public {
        handler = new KeyRegistryHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](5);
        selectors[0] = handler.register.selector;
        selectors[1] = handler.revoke.selector;
        selectors[2] = handler.impersonate.selector;
        selectors[3] = handler.advance.selector;
        selectors[4] = handler.delegate.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    /// hardhat-config: invariant.runs = 50
    /// hardhat-config: invariant.depth = 100
    /// hardhat-config: invariant.failOnRevert = true
    function invariant_theRegistryIsTheFoldOfAllEvents() public view {
        IKeyRegistry registry = handler.target();
        uint256 total;
        for (uint256 i = 0; i < handler.WALLETS(); i++) {
            address wallet = handler.walletAt(i);
            KeyRegistryHandler.Version[] memory versions = handler.versionsOf(wallet);
            total += versions.length;
            vm.assertEq(registry.versionCount(wallet), versions.length);
            uint256 before;
            for (uint256 v = 1; v <= versions.length; v++) {
                IKeyRegistry.KeyVersion memory key = registry.keyOf(wallet, v);
                vm.assertEq(key.encryptionKey, versions[v - 1].encryptionKey);
                vm.assertEq(key.document, versions[v - 1].document);
                vm.assertEq(key.registeredAtBlock, versions[v - 1].registeredAtBlock);
                vm.assertTrue(before <= key.registeredAtBlock, "back-dated");
                before = key.registeredAtBlock;
                // Of the versions of one block, keyAt gives the last.
                uint256 last = v;
                while (last < versions.length && versions[last].registeredAtBlock == before) last++;
                (uint256 found, ) = registry.keyAt{gas: 50_000}(wallet, before);
                vm.assertEq(found, last);
            }
        }
        vm.assertEq(registry.count(), total);
        vm.assertEq(registry.count(), handler.eventsSeen());
    }
}
