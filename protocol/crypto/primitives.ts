/**
 * One signature to check: a 32-byte public key, the message as it was signed, a 64-byte signature; lengths may be
 * wrong.
 */
export interface SignatureClaim {
  readonly publicKey: Uint8Array;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

/** An Ed25519 key that is ready to sign: its 32-byte public key, and signatures of 64 bytes (RFC 8032, 5.1.6). */
export interface Signer {
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

/** Cost (a power of two), block size and parallelization of scrypt (RFC 7914, 2). */
export interface ScryptParameters {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

/**
 * The cryptography that DMTP stands on; every implementation gives the same answer to the same input.
 *
 * A key, IV or output of the wrong length is a bug in the caller and throws RangeError. What comes from strangers never
 * throws: a signature that does not verify is `false`, a sealed text that does not authenticate is `null`, an
 * inadmissible key is `false`, wrong lengths included. Returned arrays are plain and own their memory; inputs are
 * neither kept nor changed.
 */
export interface Primitives {
  readonly name: "native with libsodium" | "native" | "portable";

  /** SHA-256 (FIPS 180-4): 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array;

  /** HKDF-SHA256, extract then expand (RFC 5869): `length` bytes, 1 to 8160. */
  hkdf(ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array;

  /** scrypt (RFC 7914): `length` bytes, 1 to 8160; needs about 128·N·r bytes of memory, at most 2 GiB. */
  scrypt(password: Uint8Array, salt: Uint8Array, parameters: ScryptParameters, length: number): Uint8Array;

  /** AES-256-GCM (NIST SP 800-38D) with a 32-byte key and a 12-byte IV: the ciphertext, then the 16-byte tag. */
  aesGcmSeal(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array;

  /**
   * The plaintext of what `aesGcmSeal` gave for this key, IV and AAD; `null` for anything else, and for wrong lengths.
   */
  aesGcmOpen(key: Uint8Array, iv: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array | null;

  /** The 32-byte public key of a 32-byte private key, clamped as it is used (RFC 7748, 6.1). */
  x25519PublicKey(privateKey: Uint8Array): Uint8Array;

  /**
   * The 32-byte shared secret of two 32-byte keys (RFC 7748, 5); `null` if it is all zero, for a key of low order
   * (6.1).
   */
  x25519(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | null;

  /** A signer for a 32-byte Ed25519 seed (RFC 8032, 5.1.5), which is copied: the key is imported once. */
  ed25519Signer(seed: Uint8Array): Signer;

  /**
   * Answers each claim by ZIP 215: S < L, [8][S]B = [8]R + [8][k]A, encodings of A and R may be non-canonical.
   *
   * Many at once, so that a batched verifier can take its place. Callers pass admissible keys only, but the answer is
   * that of ZIP 215 for every input.
   */
  ed25519Verify(claims: readonly SignatureClaim[]): boolean[];

  /**
   * Whether 32 bytes are an Ed25519 key that an honest wallet can make: canonical, on the curve, torsion-free, not the
   * identity.
   */
  isAdmissibleSigningKey(publicKey: Uint8Array): boolean;

  /**
   * Whether 32 bytes are an X25519 key that an honest wallet can make: u < p with the top bit clear, not of low order.
   */
  isAdmissibleEncryptionKey(publicKey: Uint8Array): boolean;
}
