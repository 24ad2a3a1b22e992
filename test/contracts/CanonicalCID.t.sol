// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CanonicalCID} from "../../contracts/CanonicalCID.sol";
import {Test} from "./Vm.sol";

/// @notice Gives the library's functions the calldata they read.
contract CanonicalCIDHarness {
    function decode(string calldata cid) external pure returns (bytes32) {
        return CanonicalCID.decode(cid);
    }

    function encode(bytes32 digest) external pure returns (string memory) {
        return CanonicalCID.encode(digest);
    }
}

/// @notice The slow readable twin: RFC 4648 base32, one character at a time.
library PlainCID {
    bytes internal constant ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

    function encode(bytes32 digest) internal pure returns (string memory) {
        bytes memory data = abi.encodePacked(hex"01711220", digest);
        bytes memory text = new bytes(59);
        text[0] = "b";
        uint256 bits;
        uint256 pending;
        uint256 place = 1;
        for (uint256 i = 0; i < data.length; i++) {
            pending = ((pending << 8) | uint8(data[i])) & 0xfff;
            bits += 8;
            while (bits >= 5) {
                bits -= 5;
                text[place++] = ALPHABET[(pending >> bits) & 31];
            }
        }
        text[place++] = ALPHABET[(pending << (5 - bits)) & 31];
        require(place == 59, "36 bytes are 58 characters");
        return string(text);
    }

    /// @dev Zero if `cid` is anything but the canonical form.
    function decode(string memory cid) internal pure returns (bytes32) {
        bytes memory text = bytes(cid);
        if (text.length != 59 || text[0] != "b") return 0;
        bytes memory data = new bytes(36);
        uint256 bits;
        uint256 pending;
        uint256 place;
        for (uint256 i = 1; i < text.length; i++) {
            uint8 char = uint8(text[i]);
            uint256 value;
            if (char >= 0x61 && char <= 0x7a) value = char - 0x61;
            else if (char >= 0x32 && char <= 0x37) value = char - 0x32 + 26;
            else return 0;
            pending = ((pending << 5) | value) & 0xfff;
            bits += 5;
            if (bits >= 8) {
                bits -= 8;
                data[place++] = bytes1(uint8(pending >> bits));
            }
        }
        if (bits != 2 || pending & 3 != 0) return 0;
        if (data[0] != 0x01 || data[1] != 0x71 || data[2] != 0x12 || data[3] != 0x20) return 0;
        bytes32 digest;
        for (uint256 i = 0; i < 32; i++) digest |= bytes32(data[4 + i]) >> (8 * i);
        return digest;
    }
}

contract CanonicalCIDTest is Test {
    CanonicalCIDHarness private harness = new CanonicalCIDHarness();

    /// @dev From multiformats 14, `CID.createV1(0x71, sha2-256 digest)`.
    function test_agreesWithMultiformats() public view {
        _check(bytes32(uint256(1)), "bafyreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaae");
        _check(bytes32(uint256(1) << 255), "bafyreieaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        _check(bytes32(type(uint256).max), "bafyreih777777777777777777777777777777777777777777777777774");
        _check(sha256(""), "bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
        _check(
            0x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef,
            "bafyreiabencwpcnlzxxqci2fm6e2xtppaerukz4jvpg66ajdivtytk6n54"
        );
    }

    function test_theZeroDigestEncodesButReadsAsNone() public view {
        _check(0, "bafyreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    }

    /// @dev The same digest, or one of the same length, said in any other way.
    function test_otherFormsAreNotCanonical() public view {
        string[13] memory others = [
            // dag-pb, raw, keccak-256, sha3-256, CIDv0
            "bafybeiflvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvm",
            "bafkreiflvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvm",
            "bafyrwiflvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvm",
            "bafyrmiflvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvm",
            "QmZtnFaddFtzGNT8BxdHVbQrhSFdq1pWxud5z4fA4kxfDt",
            // upper case, base58btc, a set padding bit in the last character
            "BAFYREIFLVOV2XK5LVOV2XK5LVOV2XK5LVOV2XK5LVOV2XK5LVOV2XK5LVM",
            "zdpuAwya2PzMTXeYYfaoixodPtuTwWGB5RbPMeJJAWgUgot8i",
            "bafyreiflvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvn",
            // a multihash length of 33: its lowest bits are in the eighth character
            "bafyreijlvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvm",
            // one character more, one less, none; one upper-case letter
            "bafyreiflvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvma",
            "bafyreiflvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lv",
            "",
            "bafyreiflvov2xk5lvov2xk5lvov2xk5lvov2Xk5lvov2xk5lvov2xk5lvm"
        ];
        for (uint256 i = 0; i < others.length; i++) {
            vm.assertEq(harness.decode(others[i]), 0, others[i]);
            vm.assertEq(PlainCID.decode(others[i]), 0, others[i]);
        }
    }

    /// @dev All 256 bytes at all 59 places of one CID. Without the twin, which would make a failure's trace too big to keep.
    function test_everyByteAtEveryPlace() public view {
        bytes memory text = bytes(PlainCID.encode(sha256("every byte at every place")));
        for (uint256 place = 0; place < text.length; place++) this.everyByteAt(text, place);
    }

    /// @dev An external function of its own, so that its memory is given back.
    function everyByteAt(bytes memory text, uint256 place) external view {
        bytes memory alphabet = PlainCID.ALPHABET;
        uint256 canonical;
        for (uint256 i = 0; i < 32; i++) {
            text[place] = alphabet[i];
            bytes32 digest = harness.decode(string(text));
            if (digest == 0) continue;
            canonical++;
            require(keccak256(bytes(harness.encode(digest))) == keccak256(text), "reads as another CID");
        }
        // The constant's characters allow themselves only; the eighth has three free bits, the last one too, others five.
        require(
            canonical ==
                (
                    place < 7
                        ? 1
                        : place == 7 || place == 58
                            ? 8
                            : 32
                ),
            "too many or too few are canonical"
        );
        for (uint256 char = 0; char < 256; char++) {
            text[place] = bytes1(uint8(char));
            if ((char >= 0x61 && char <= 0x7a) || (char >= 0x32 && char <= 0x37)) continue;
            require(harness.decode(string(text)) == 0, "took a character outside the alphabet");
        }
    }

    /// hardhat-config: fuzz.runs = 5000
    function testFuzz_everyDigestRoundTrips(bytes32 digest) public view {
        _check(digest, PlainCID.encode(digest));
    }

    /// @dev 1,000 runs of 100 mutants, one after the other, each further from the CID: whenever a mutant is taken for a
    /// canonical CID, its digest says exactly that mutant, so no two strings have a digest in common.
    /// hardhat-config: fuzz.runs = 1000
    function testFuzz_hundredThousandMutantsNeverCollide(bytes32 digest, uint256 seed) public view {
        bytes memory original = bytes(PlainCID.encode(digest));
        bytes memory text = bytes.concat(original);
        for (uint256 i = 0; i < 100; i++) {
            // Every tenth starts afresh, so that most mutants are one to a few steps away.
            if (i % 10 == 0) text = bytes.concat(original);
            seed = uint256(keccak256(abi.encode(seed)));
            text = _mutate(text, seed);
            bytes32 decoded = harness.decode(string(text));
            if (decoded != 0) vm.assertEq(harness.encode(decoded), string(text));
            if (keccak256(text) != keccak256(original)) vm.assertTrue(decoded == 0 || decoded != digest, string(text));
        }
    }

    /// hardhat-config: fuzz.runs = 1000
    function testFuzz_mutantsReadAsTheTwinReadsThem(bytes32 digest, uint256 seed) public view {
        bytes memory text = _mutate(bytes(PlainCID.encode(digest)), seed);
        vm.assertEq(harness.decode(string(text)), PlainCID.decode(string(text)), string(text));
    }

    function testFuzz_anyStringReadsAsTheTwinReadsIt(string memory text) public view {
        vm.assertEq(harness.decode(text), PlainCID.decode(text));
    }

    /// @dev One small change: another letter of the alphabet (the most likely to stay canonical), any byte, another case,
    /// two neighbours swapped, one character less or more.
    function _mutate(bytes memory text, uint256 seed) private pure returns (bytes memory) {
        uint256 place = (seed >> 8) % text.length;
        bytes1 char = bytes1(uint8(seed >> 64));
        uint256 kind = seed % 8;
        if (kind < 3) {
            text[place] = PlainCID.ALPHABET[uint8(char) % 32];
        } else if (kind == 3) {
            text[place] = char;
        } else if (kind == 4) {
            text[place] ^= 0x20;
        } else if (kind == 5) {
            uint256 other = (place + 1) % text.length;
            (text[place], text[other]) = (text[other], text[place]);
        } else if (kind == 6 && text.length > 1) {
            bytes memory shorter = new bytes(text.length - 1);
            for (uint256 i = 0; i < shorter.length; i++) shorter[i] = text[i < place ? i : i + 1];
            return shorter;
        } else {
            bytes memory longer = new bytes(text.length + 1);
            for (uint256 i = 0; i < longer.length; i++) longer[i] = i == place ? char : text[i < place ? i : i - 1];
            return longer;
        }
        return text;
    }

    /// @dev Both ways, in both implementations. (The zero digest reads as zero, which is also "not canonical".)
    function _check(bytes32 digest, string memory cid) private view {
        vm.assertEq(harness.encode(digest), cid);
        vm.assertEq(harness.decode(cid), digest);
        vm.assertEq(PlainCID.encode(digest), cid);
        vm.assertEq(PlainCID.decode(cid), digest);
    }
}
