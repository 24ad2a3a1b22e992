import { expect } from "chai";

import { AddressGuard, reachOf } from "../../io/content/address-guard.ts";
import { faultOf } from "../../io/content/source-fault.ts";

async function faultFrom(act: () => Promise<unknown>): Promise<string | null> {
  try {
    await act();
  } catch (error) {
    return faultOf(error).fault;
  }
  return null;
}

const PUBLIC = "203.0.114.7";

describe("The address guard", () => {
  for (const [address, reach] of [
    ["127.0.0.1", "local"],
    ["127.255.0.9", "local"],
    ["0.0.0.0", "local"],
    ["169.254.169.254", "local"],
    ["224.0.0.1", "local"],
    ["255.255.255.255", "local"],
    ["::1", "local"],
    ["::", "local"],
    ["fe80::1", "local"],
    ["ff02::1", "local"],
    ["::ffff:127.0.0.1", "local"],
    ["::ffff:10.1.2.3", "private"],
    ["10.0.0.1", "private"],
    ["172.31.255.255", "private"],
    ["192.168.1.1", "private"],
    ["100.64.0.1", "private"],
    ["fd00::1", "private"],
    ["64:ff9b::7f00:1", "private"],
    ["64:ff9b:1::7f00:1", "private"],
    ["::7f00:1", "private"],
    ["::10.0.0.1", "private"],
    ["::ffff:0:7f00:1", "private"],
    ["2002:7f00:1::", "private"],
    ["2001:0:7f00:1::", "private"],
    ["4000::1", "private"],
    ["::ffff:7f00:1", "local"],
    ["::ffff:8.8.8.8", "public"],
    ["::ffff:808:808", "public"],
    ["172.32.0.1", "public"],
    ["8.8.8.8", "public"],
    ["2606:4700::1111", "public"],
  ] as const) {
    it(`calls ${address} ${reach}`, () => {
      expect(reachOf(address)).to.equal(reach);
    });
  }

  it("trusts the address that the operator wrote", async () => {
    for (const text of ["http://127.0.0.1:8080", "http://[::1]:8080", "http://192.168.1.5", "http://8.8.8.8"]) {
      const url = new URL(text);
      expect(await new AddressGuard(url).addressesOf(url)).to.deep.equal([url.hostname.replace(/[[\]]/g, "")]);
    }
  });

  for (const text of [
    "http://127.0.0.1:5001/api/v0/repo/gc",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://localhost/",
    "http://a.localhost/",
    "http://inside.example/",
    "http://metadata.example/",
    "http://both.example/",
    "http://bafy.ipfs.localhost/",
    "http://[::7f00:1]/",
    "http://[64:ff9b:1::7f00:1]/",
  ]) {
    it(`refuses to be led to ${text}`, async () => {
      const names: Record<string, string[]> = {
        "gateway.example": [PUBLIC],
        localhost: ["127.0.0.1"],
        "a.localhost": ["::1"],
        "bafy.ipfs.localhost": ["127.0.0.1"],
        "inside.example": ["10.0.0.9"],
        "metadata.example": ["169.254.169.254"],
        "both.example": [PUBLIC, "127.0.0.1"],
      };
      const guard = new AddressGuard(new URL("https://gateway.example"), (host) => Promise.resolve(names[host] ?? []));
      expect(await faultFrom(() => guard.addressesOf(new URL(text)))).to.equal("redirected");
    });
  }

  it("goes to another public host, and to the addresses that it has checked", async () => {
    const guard = new AddressGuard(new URL("https://gateway.example"), () => Promise.resolve([PUBLIC]));
    expect(await guard.addressesOf(new URL("https://bafy.gateway.example/"))).to.deep.equal([PUBLIC]);
  });

  it("lets a configured name be in a private network, but not on this machine", async () => {
    const kubo = new URL("http://kubo:8080");
    expect(await new AddressGuard(kubo, () => Promise.resolve(["172.18.0.2"])).addressesOf(kubo)).to.deep.equal([
      "172.18.0.2",
    ]);
    for (const address of ["127.0.0.1", "169.254.169.254", "::1"]) {
      const guard = new AddressGuard(kubo, () => Promise.resolve([address]));
      expect(await faultFrom(() => guard.addressesOf(kubo))).to.equal("redirected");
    }
  });

  it("refuses a configured name that was public and becomes private: DNS rebinding", async () => {
    const url = new URL("https://gateway.example");
    let answer = [PUBLIC];
    const guard = new AddressGuard(url, () => Promise.resolve(answer));
    await guard.addressesOf(url);
    answer = ["192.168.0.1"];
    expect(await faultFrom(() => guard.addressesOf(url))).to.equal("redirected");
    answer = [PUBLIC];
    expect(await guard.addressesOf(url)).to.deep.equal([PUBLIC]);
  });

  it("takes localhost for this machine only", async () => {
    const url = new URL("http://localhost:8080");
    expect(await new AddressGuard(url, () => Promise.resolve(["127.0.0.1"])).addressesOf(url)).to.deep.equal([
      "127.0.0.1",
    ]);
    const poisoned = new AddressGuard(url, () => Promise.resolve([PUBLIC]));
    expect(await faultFrom(() => poisoned.addressesOf(url))).to.equal("redirected");
  });

  it("says that a name does not resolve, which is no redirect", async () => {
    const url = new URL("http://gone.example");
    const guard = new AddressGuard(url, () => Promise.reject(new Error("ENOTFOUND")));
    expect(await faultFrom(() => guard.addressesOf(url))).to.equal("unreachable");
  });
});
