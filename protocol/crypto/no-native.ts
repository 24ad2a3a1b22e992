/** What stands for node-native.ts wherever there is no Node: a page does not load what it could not run. */
export const native = null;
