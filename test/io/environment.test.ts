import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import { dataFolder } from "../../io/data-folder.ts";
import { parseEnvironment } from "../../io/environment.ts";
import { DmtpError } from "../../protocol/error.ts";
import { useFolder } from "../fixtures/folder.ts";
import { DEPLOYMENT } from "../fixtures/history.ts";
import { codeOf } from "../fixtures/refusal.ts";

describe("The environment", () => {
  it("needs nothing: every variable has a default or is left out", () => {
    expect(parseEnvironment({ UNRELATED: "x", RPC_URL: "" })).to.deep.equal({
      cidStore: undefined,
      keyRegistry: undefined,
      dataDir: undefined,
      ipfsApis: [],
      contentSources: [],
      pinningToken: undefined,
      rpcUrls: [],
      chainId: undefined,
      host: "127.0.0.1",
      port: 4680,
      relayPort: 4681,
      corsOrigins: undefined,
      trustedProxies: 0,
      promiseBlocks: undefined,
      relayPolicy: undefined,
      pollIntervalMs: 2_000,
      finalityDepth: 256,
    });
  });

  it("reads each variable", () => {
    const environment = parseEnvironment({
      CID_STORE_ADDRESS: DEPLOYMENT.cidStore,
      KEY_REGISTRY_ADDRESS: DEPLOYMENT.keyRegistry,
      DMTP_DATA_DIR: "/data",
      IPFS_API_URL: "http://127.0.0.1:5001, https://kubo.example/rpc/api/v0",
      IPFS_API_HEADERS: '{"authorization": "Bearer t0ken"}',
      CONTENT_SOURCES: "https://gateway.example, /data/history.car",
      RPC_URL: "https://a.example/key, https://b.example",
      CHAIN_ID: "137",
      HOST: "0.0.0.0",
      PORT: "80",
      CORS_ORIGINS: "https://app.example, http://localhost:5173",
      POLL_INTERVAL_MS: "500",
      FINALITY_DEPTH: "12",
      LOG_FORMAT: "json",
      LOG_LEVEL: "warning",
    });
    expect(environment).to.deep.include({
      cidStore: DEPLOYMENT.cidStore,
      keyRegistry: DEPLOYMENT.keyRegistry,
      dataDir: "/data",
      rpcUrls: ["https://a.example/key", "https://b.example"],
      chainId: 137,
      host: "0.0.0.0",
      port: 80,
      corsOrigins: ["https://app.example", "http://localhost:5173"],
      pollIntervalMs: 500,
      finalityDepth: 12,
    });
    expect(environment.contentSources).to.deep.equal(["https://gateway.example", "/data/history.car"]);
    const headers = { authorization: "Bearer t0ken" };
    expect(environment.ipfsApis.map(({ url, headers: sent }) => [url.href, sent])).to.deep.equal([
      ["http://127.0.0.1:5001/", headers],
      ["https://kubo.example/rpc/api/v0", headers],
    ]);
  });

  it("gives each Kubo node its own headers, so that none gets another's token", () => {
    const urls = "http://a.example,http://b.example";
    const own = '[{"authorization": "Bearer a"}, {}]';
    const { ipfsApis } = parseEnvironment({ IPFS_API_URL: urls, IPFS_API_HEADERS: own });
    expect(ipfsApis.map(({ headers }) => headers)).to.deep.equal([{ authorization: "Bearer a" }, {}]);
    expect(codeOf(() => parseEnvironment({ IPFS_API_URL: urls, IPFS_API_HEADERS: "[{}]" }))).to.equal(
      "CONFIGURATION_INVALID",
    );
  });

  for (const [name, value] of [
    ["CID_STORE_ADDRESS", "0x1234567890secret"],
    ["LOG_FORMAT", "xml secret"],
    ["LOG_LEVEL", "secret"],
    ["KEY_REGISTRY_ADDRESS", "0x52908400098527886E0F7030069857D2E4169Ee7"],
    ["IPFS_API_URL", "/ip4/secret"],
    ["IPFS_API_URL", "http://127.0.0.1:5001,/ip4/secret"],
    ["IPFS_API_HEADERS", "authorization: secret"],
    ["IPFS_API_HEADERS", '{"authorization": 7, "x": "secret"}'],
    ["IPFS_API_HEADERS", '{"a header": "secret"}'],
    ["IPFS_API_HEADERS", '{"x": "secret\\r\\nx: y"}'],
    ["PINNING_TOKEN", "secret\r\nx: y"],
    ["RPC_URL", "https://good.example,ftp://secret.example"],
    ["CHAIN_ID", "0x89"],
    ["PORT", "65536"],
    ["CORS_ORIGINS", "https://secret.example/"],
    ["CORS_ORIGINS", "*, secret.example"],
    ["POLL_INTERVAL_MS", "1"],
    ["FINALITY_DEPTH", "-1"],
  ] as const) {
    it(`refuses a bad ${name} by its name, and does not repeat its value`, () => {
      try {
        parseEnvironment({ [name]: value });
        expect.fail("it was taken");
      } catch (error) {
        expect(error).to.be.instanceOf(DmtpError);
        expect((error as DmtpError).code).to.equal("CONFIGURATION_INVALID");
        expect((error as DmtpError).message)
          .to.include(name)
          .and.not.include(value);
        expect((error as DmtpError).message).not.to.include("secret");
      }
    });
  }
});

describe("The data folder", () => {
  const folder = useFolder();

  it("names chain and both contracts, and is for its owner only", () => {
    const path = dataFolder(DEPLOYMENT, { dataDir: join(folder(), "data") });
    expect(path).to.equal(join(folder(), "data", "11111111-22222222"));
    expect(statSync(path).mode & 0o777).to.equal(0o700);
    expect(dataFolder(DEPLOYMENT, { dataDir: join(folder(), "data") })).to.equal(path);
  });

  it("is refused by its code where none can be made", () => {
    const dataDir = join(folder(), "file");
    writeFileSync(dataDir, "");
    expect(codeOf(() => dataFolder(DEPLOYMENT, { dataDir }))).to.equal("DATABASE_WRITE_FAILED");
  });

  it("lies in .dmtp/<chain id> when none is given", () => {
    const before = process.cwd();
    process.chdir(folder());
    try {
      expect(dataFolder(DEPLOYMENT, { dataDir: undefined })).to.match(/\.dmtp\/137\/11111111-22222222$/);
    } finally {
      process.chdir(before);
    }
  });
});
