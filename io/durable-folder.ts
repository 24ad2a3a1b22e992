/** Folders whose entries survive a crash. */
import { closeSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";

/** Makes a folder and what leads to it; when it returns, a crash no longer takes it away. */
export function makeFolder(path: string, mode = 0o777): void {
  const first = mkdirSync(path, { recursive: true, mode });
  if (first === undefined) return;
  // An entry is durable when the folder that holds it has been synced: from the new folder's parent up to the first one made.
  for (let folder = path; ; folder = dirname(folder)) {
    syncFolder(dirname(folder));
    if (folder === first || dirname(folder) === folder) return;
  }
}

/** Makes the entries of a folder durable: a renamed file is only in its new place for good after this. */
export function syncFolder(path: string): void {
  // Windows has no handle for a folder that could be synced; NTFS logs its own metadata.
  if (process.platform === "win32") return;
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
