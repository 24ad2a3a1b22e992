/** Folders whose entries survive a crash. */
import { closeSync, fsyncSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Makes a folder and what leads to it; when it returns, a crash no longer takes it away. */
export function makeFolder(path: string, mode = 0o777): void {
  const made: string[] = [];
  for (const folder of absentFolders(path)) if (makeOne(folder, mode)) made.push(folder);
  // An entry is durable when the folder that holds it has been synced: from the new folder's parent up to the first one made.
  for (const folder of made.reverse()) syncFolder(dirname(folder));
}

/**
 * What has to be made, from the top. One after the other, since Node's recursive way never ends in a file system that has a folder and
 * says that it has not when something is to be made in it, as /proc does.
 */
function absentFolders(path: string): string[] {
  const absent: string[] = [];
  for (let folder = path; !isFolder(folder) && dirname(folder) !== folder; folder = dirname(folder))
    absent.unshift(folder);
  return absent;
}

/** False when another process was first. */
function makeOne(folder: string, mode: number): boolean {
  try {
    mkdirSync(folder, { mode });
    return true;
  } catch (error) {
    if (isFolder(folder)) return false;
    throw error;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
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
