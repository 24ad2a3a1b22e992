// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title The one text form of the CIDs that the protocol writes
/// @notice CIDv1, dag-cbor, sha2-256 in lower-case base32 (multibase `b`): 59 characters, `bafyrei` and 52 more.
/// @dev The bytes behind the `b` are 01 71 12 20 and the digest: 36 bytes, 288 bits, in 58 characters of 5 bits, so that
/// the last character ends in two zero bits. `bafyrei` is the `b` and the first 30 bits; of the eighth character, two bits
/// belong to the constant (zero) and three to the digest. The other 52 characters are worked on as two words, one character
/// a byte: characters 7 to 38 ("left", 158 bits of the digest) and 27 to 58 ("right", whose last 20 hold the other 98).
/// All bytes of a word are mapped at once; one character at a time would cost more than the storage it saves.
library CanonicalCID {
    uint256 internal constant LENGTH = 59;

    bytes7 private constant _PREFIX = "bafyrei";
    uint256 private constant _RIGHT_BITS = 98;
    uint256 private constant _RIGHT_MASK = (1 << _RIGHT_BITS) - 1;
    // A factor that repeats a byte 32 times; then, for each step of `_pack`, the low bits of every lane of 2 to 32 bytes.
    uint256 private constant _BYTES = (2 ** 256 - 1) / 0xff;
    // A quotient is multiplied, and loses nothing by it: 2^256 - 1 is a multiple of each of these.
    // slither-disable-start divide-before-multiply
    uint256 private constant _LOW_5 = (2 ** 5 - 1) * ((2 ** 256 - 1) / (2 ** 16 - 1));
    uint256 private constant _LOW_10 = (2 ** 10 - 1) * ((2 ** 256 - 1) / (2 ** 32 - 1));
    uint256 private constant _LOW_20 = (2 ** 20 - 1) * ((2 ** 256 - 1) / (2 ** 64 - 1));
    uint256 private constant _LOW_40 = (2 ** 40 - 1) * ((2 ** 256 - 1) / (2 ** 128 - 1));
    // slither-disable-end divide-before-multiply
    uint256 private constant _LOW_80 = 2 ** 80 - 1;

    /// @notice The digest in `cid`, or zero if `cid` is not in this form (or is, with the digest zero).
    /// @dev A string is taken for canonical only if encoding its digest gives the same string again. So whatever the decoder
    /// makes of a stray character, two different strings never give the same digest.
    // Slices would check each of the three loads against the length again, for 575 gas: the last one ends at byte 59.
    // slither-disable-next-line assembly
    function decode(string calldata cid) internal pure returns (bytes32 digest) {
        if (bytes(cid).length != LENGTH) return 0;
        bytes32 first;
        uint256 left;
        uint256 right;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            first := calldataload(cid.offset)
            left := calldataload(add(cid.offset, 7))
            right := calldataload(add(cid.offset, 27))
        }
        if (bytes7(first) != _PREFIX) return 0;
        unchecked {
            uint256 value = (_pack(left) << _RIGHT_BITS) | ((_pack(right) >> 2) & _RIGHT_MASK);
            if (_unpack(value >> _RIGHT_BITS) != left) return 0;
            // Of the right word only the last 20 characters count: the others are the left word's.
            if (uint160(_unpack((value & _RIGHT_MASK) << 2)) != uint160(right)) return 0;
            return bytes32(value);
        }
    }

    /// @notice The CID with this digest.
    function encode(bytes32 digest) internal pure returns (string memory) {
        uint256 value = uint256(digest);
        bytes32 left = bytes32(_unpack(value >> _RIGHT_BITS));
        bytes20 right = bytes20(uint160(_unpack((value & _RIGHT_MASK) << 2)));
        return string(abi.encodePacked(_PREFIX, left, right));
    }

    /// @dev 32 characters of base32 to 160 bits. Characters outside the alphabet give anything.
    function _pack(uint256 x) private pure returns (uint256) {
        unchecked {
            // A letter (bit 6 is set) stands for its low five bits - 1, a digit for its low five bits + 8.
            x = (x & (0x1f * _BYTES)) + 8 * _BYTES - 9 * ((x >> 6) & _BYTES);
            // Neighbours close up: 5 bits in each byte become 10 in each two bytes, 20 in each four, and so on.
            x = (x & _LOW_5) | ((x >> 3) & (_LOW_5 << 5));
            x = (x & _LOW_10) | ((x >> 6) & (_LOW_10 << 10));
            x = (x & _LOW_20) | ((x >> 12) & (_LOW_20 << 20));
            x = (x & _LOW_40) | ((x >> 24) & (_LOW_40 << 40));
            return (x & _LOW_80) | ((x >> 48) & (_LOW_80 << 80));
        }
    }

    /// @dev 160 bits to 32 characters of base32: the steps of `_pack`, backwards.
    function _unpack(uint256 x) private pure returns (uint256) {
        unchecked {
            x = (x & _LOW_80) | ((x & (_LOW_80 << 80)) << 48);
            x = (x & _LOW_40) | ((x & (_LOW_40 << 40)) << 24);
            x = (x & _LOW_20) | ((x & (_LOW_20 << 20)) << 12);
            x = (x & _LOW_10) | ((x & (_LOW_10 << 10)) << 6);
            x = (x & _LOW_5) | ((x & (_LOW_5 << 5)) << 3);
            // 0 to 25 are `a` to `z`, 26 to 31 (which + 6 carries into bit 5) are `2` to `7`: 0x32 = 0x61 + 26 - 73.
            return x + 0x61 * _BYTES - 73 * (((x + 6 * _BYTES) >> 5) & _BYTES);
        }
    }
}
