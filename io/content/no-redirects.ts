/**
 * Keeps kubo-rpc-client from following redirects: it asks by the global fetch, and has no option for it. A redirect would have it
 * POST, with the headers of IPFS_API_HEADERS, to services that only this machine reaches.
 */

/** What the URLs begin with whose redirects are errors. */
const prefixes = new Set<string>();
let isInstalled = false;

/** From now on, a request to a URL below `api` fails when the answer is a redirect. Other requests are as before. */
export function refuseRedirects(api: string): void {
  prefixes.add(`${api}/`);
  if (isInstalled) return;
  isInstalled = true;
  const original = globalThis.fetch;
  globalThis.fetch = (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const isRefused = [...prefixes].some((prefix) => url.startsWith(prefix));
    return original(input, isRefused ? { ...init, redirect: "error" } : init);
  };
}
