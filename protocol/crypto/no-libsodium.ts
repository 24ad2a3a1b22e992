/** What stands for libsodium.ts wherever there is no Node. */
export const libsodium = null;
