/** What DMTP calls and reads of its two contracts (contracts/interfaces/); a test holds it against the compiled ones. */
import { Interface } from "ethers/abi";

export const cidStoreInterface = new Interface([
  "event CIDAnchored(uint256 indexed index, bytes32 indexed digest)",
  "event CIDStoredVerbatim(uint256 indexed index, string cid)",
  "event AnchorerChanged(address indexed previousAnchorer, address indexed newAnchorer)",
  "error HeadMismatch(bytes32 expected, bytes32 actual)",
  "error NotAnchorer(address caller, address anchorer)",
  "error InvalidDigest(bytes32 digest)",
  "error CIDEmpty()",
  "error CIDTooLong(uint256 length, uint256 limit)",
  "error IndexOutOfRange(uint256 index, uint256 count)",
  "error RenouncingDisabled()",
  "error OwnableUnauthorizedAccount(address account)",
  "function storeCID(string cid)",
  "function anchor(bytes32 prev, bytes32 digest) returns (uint256 index)",
  "function setAnchorer(address newAnchorer)",
  "function cids(uint256 index) view returns (string)",
  "function count() view returns (uint256)",
  "function head() view returns (bytes32)",
  "function anchorer() view returns (address)",
  "function deployedAtBlock() view returns (uint256)",
  "function owner() view returns (address)",
  "function pendingOwner() view returns (address)",
]);

/** `cids` again, as bytes, which a string is in the ABI: ethers refuses a string that is not UTF-8, and the contract takes one. */
export const entryInterface = new Interface(["function cids(uint256 index) view returns (bytes)"]);

export const keyRegistryInterface = new Interface([
  "event KeyRegistered(uint256 indexed index, address indexed wallet, uint256 version, bytes32 encryptionKey, bytes32 signingKey, bytes32 document, uint256 deadline, bytes signature, bool hasCode)",
  "event KeyRevoked(uint256 indexed index, address indexed wallet, uint256 version)",
  "error InvalidEncryptionKey(bytes32 encryptionKey)",
  "error InvalidSigningKey(bytes32 signingKey)",
  "error DocumentEmpty()",
  "error SignatureTooLong(uint256 length, uint256 limit)",
  "error DeadlineExpired(uint256 deadline, uint256 timestamp)",
  "error DeadlineTooFar(uint256 deadline, uint256 limit)",
  "error BindingNotSigned(address wallet, bytes32 digest)",
  "error InvalidSignature(address wallet, bytes32 digest)",
  "error NothingToRevoke(address wallet, uint256 version)",
  "error UnknownVersion(address wallet, uint256 version, uint256 versionCount)",
  "function register(bytes32 encryptionKey, bytes32 signingKey, bytes32 document, uint256 deadline, bytes signature) returns (uint256 version)",
  "function registerFor(address wallet, bytes32 encryptionKey, bytes32 signingKey, bytes32 document, uint256 deadline, bytes signature) returns (uint256 version)",
  "function revoke() returns (uint256 version)",
  "function revokeFor(address wallet, uint256 deadline, bytes signature) returns (uint256 version)",
  "function versionCount(address wallet) view returns (uint256)",
  "function keyOf(address wallet, uint256 version) view returns (tuple(bytes32 encryptionKey, bytes32 document, uint256 registeredAtBlock))",
  "function keyAt(address wallet, uint256 blockNumber) view returns (uint256 version, tuple(bytes32 encryptionKey, bytes32 document, uint256 registeredAtBlock) key)",
  "function count() view returns (uint256)",
  "function deployedAtBlock() view returns (uint256)",
  "function eip712Domain() view returns (bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions)",
]);

/** The first topic of an event's logs. */
export function topicOf(contract: Interface, event: string): string {
  const fragment = contract.getEvent(event);
  if (fragment === null) throw new RangeError(`no event ${event}`);
  return fragment.topicHash;
}
