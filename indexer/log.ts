/** Takes one line for the operator; holds no key, plaintext, signature or URL secret. */
export type Log = (line: string) => void;
