import { gzipSync } from "node:zlib";

import { expect } from "chai";

import { CarUrlSource } from "../../io/content/car-source.ts";
import { encodeCar } from "../../io/content/car.ts";
import { GatewaySource } from "../../io/content/gateway.ts";
import { faultOf, type Fault } from "../../io/content/source-fault.ts";
import { MAX_BLOCK_BYTES } from "../../protocol/cbor.ts";
import { cidOf } from "../../protocol/cid.ts";
import { giving, HostileGateway, RAW, silent, trickling, type Answer } from "../fixtures/hostile-gateway.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const LIMITS = { silenceMs: 300, bodyMs: 300 };
const bytes = fixedBytes("the block");
const cid = cidOf(bytes);

async function faultFrom(act: () => Promise<unknown>): Promise<Fault> {
  try {
    await act();
  } catch (error) {
    return faultOf(error).fault;
  }
  throw new Error("it was taken");
}

describe("A gateway as a source", () => {
  let gateway: HostileGateway;
  let url: URL;
  let source: GatewaySource;

  beforeEach(async () => {
    gateway = new HostileGateway();
    url = await gateway.start();
    source = new GatewaySource(url, { limits: LIMITS });
  });
  afterEach(async () => {
    await source.close();
    await gateway.stop();
  });

  it("is asked for the raw block, uncompressed, and believed when it hashes", async () => {
    gateway.answer = giving(bytes);
    expect(await source.fetch(cid)).to.deep.equal(bytes);
    const [request] = gateway.requests;
    expect(request?.url).to.equal(`/ipfs/${cid}?format=raw`);
    expect(request?.headers).to.include({ accept: RAW["content-type"], "accept-encoding": "identity" });
  });

  it("keeps a path, a query and credentials that it was configured with, and shows none of them", async () => {
    gateway.answer = giving(bytes);
    const secret = new URL("/base/?token=s3cret", url);
    secret.username = "me";
    secret.password = "passw0rd";
    const authorized = new GatewaySource(secret, { limits: LIMITS });
    expect(await authorized.fetch(cid)).to.deep.equal(bytes);
    expect(gateway.requests[0]?.url).to.equal(`/base/ipfs/${cid}?token=s3cret&format=raw`);
    expect(gateway.requests[0]?.headers.authorization).to.equal(`Basic ${btoa("me:passw0rd")}`);
    gateway.answer = giving(bytes, RAW, 500);
    const error = await authorized.fetch(cid).catch((reason: unknown) => reason as Error);
    expect((error as Error).message + authorized.name).not.to.match(/s3cret|passw0rd/);
    await authorized.close();
  });

  for (const status of [404, 410, 504]) {
    it(`has no block when it says ${status}`, async () => {
      gateway.answer = giving(bytes, RAW, status);
      expect(await source.fetch(cid)).to.equal(null);
    });
  }

  const html = new TextEncoder().encode("<!doctype html><h1>Welcome</h1>");
  const cases: readonly (readonly [string, Answer | "endless", Fault])[] = [
    ["other bytes", giving(fixedBytes("another block")), "wrong"],
    ["no bytes", giving(new Uint8Array(0)), "wrong"],
    ["a web page with status 200", giving(html, { "content-type": "text/html; charset=utf-8" }), "wrong"],
    [
      "a gzip bomb",
      giving(gzipSync(new Uint8Array(64 * 1024 * 1024)), { ...RAW, "content-encoding": "gzip" }),
      "wrong",
    ],
    [
      "more than a block's size, and says so",
      (response) => void response.writeHead(200, { ...RAW, "content-length": String(2 ** 40) }).write("x"),
      "large",
    ],
    ["one byte more than a block can have", giving(new Uint8Array(MAX_BLOCK_BYTES + 1)), "large"],
    ["a body without end", "endless", "large"],
    ["a byte now and then", trickling, "slow"],
    ["nothing at all", silent, "silent"],
    [
      "half of it",
      (response) => response.writeHead(200, { ...RAW, "content-length": "32" }).write("x", () => response.destroy()),
      "unreachable",
    ],
    ["a closed connection", (response) => response.destroy(), "unreachable"],
    ["an error of its own", giving(bytes, RAW, 500), "refused"],
    ["no access", giving(bytes, RAW, 401), "refused"],
    ["no access to this block", giving(bytes, RAW, 403), "refused"],
    ["an error of what stands behind it", giving(bytes, RAW, 502), "refused"],
    ["too many requests", giving(bytes, { ...RAW, "retry-after": "7" }, 429), "busy"],
    ["a redirect to nowhere", (response) => response.writeHead(302, { location: "http://" }).end(), "redirected"],
    [
      "a redirect to a file",
      (response) => response.writeHead(302, { location: "file:///etc/passwd" }).end(),
      "redirected",
    ],
    [
      "a redirect to the cloud's metadata",
      (response) => response.writeHead(302, { location: "http://169.254.169.254/latest" }).end(),
      "redirected",
    ],
  ];
  for (const [title, answer, fault] of cases) {
    it(`is not believed, and nothing is waited for, when it gives ${title}`, async () => {
      gateway.answer = answer === "endless" ? gateway.endless : answer;
      expect(await faultFrom(() => source.fetch(cid))).to.equal(fault);
      expect(gateway.sentBytes).to.be.lessThan(64 * 1024 * 1024);
    });
  }

  for (const type of ["application/octet-stream", "text/html", ""]) {
    it(`is believed when the bytes hash, though it calls them ${type || "nothing"}`, async () => {
      gateway.answer = giving(bytes, type === "" ? {} : { "content-type": type });
      expect(await source.fetch(cid)).to.deep.equal(bytes);
    });
  }

  it("on this machine is followed to the name that it gives the root there, which no resolver knows", async () => {
    gateway.answer = (response, request) => {
      if (request.headers.host === `${cid}.ipfs.localhost:${url.port}`) giving(bytes)(response, request);
      else response.writeHead(301, { location: `http://${cid}.ipfs.localhost:${url.port}/?format=raw` }).end();
    };
    const named = new URL(url);
    named.hostname = "localhost";
    for (const configured of [url, named]) {
      const resolve = (host: string): Promise<readonly string[]> =>
        host === "localhost" ? Promise.resolve(["127.0.0.1"]) : Promise.reject(new Error("ENOTFOUND"));
      const here = new GatewaySource(configured, { limits: LIMITS, resolve });
      expect(await here.fetch(cid)).to.deep.equal(bytes);
      await here.close();
    }
  });

  it("on this machine is not followed by such a name to another port", async () => {
    const inside = new HostileGateway();
    const target = await inside.start();
    gateway.answer = (response) =>
      response.writeHead(307, { location: `http://${cid}.ipfs.localhost:${target.port}/api/v0/repo/gc` }).end();
    const resolve = (): Promise<readonly string[]> => Promise.resolve(["127.0.0.1"]);
    const here = new GatewaySource(url, { limits: LIMITS, resolve });
    expect(await faultFrom(() => here.fetch(cid))).to.equal("redirected");
    expect(inside.requests).to.deep.equal([]);
    await here.close();
    await inside.stop();
  });

  it("is not followed to another port of this machine, where nobody is asked", async () => {
    const inside = new HostileGateway();
    const target = await inside.start();
    gateway.answer = (response) => response.writeHead(307, { location: `${target.href}api/v0/repo/gc` }).end();
    expect(await faultFrom(() => source.fetch(cid))).to.equal("redirected");
    expect(inside.requests).to.deep.equal([]);
    await inside.stop();
  });

  it("is followed in itself, and not for ever", async () => {
    gateway.answer = (response, request) => {
      if (request.url?.startsWith("/ipfs/") === true) response.writeHead(301, { location: "/moved" }).end();
      else giving(bytes)(response, request);
    };
    expect(await source.fetch(cid)).to.deep.equal(bytes);
    gateway.answer = (response) => response.writeHead(301, { location: "/round" }).end();
    expect(await faultFrom(() => source.fetch(cid))).to.equal("redirected");
    expect(gateway.requests.length).to.be.lessThan(10);
  });

  it("is not connected to when its name leads to this machine, now or later", async () => {
    gateway.answer = giving(bytes);
    const named = new URL(url);
    named.hostname = "gateway.example";
    let answers = ["203.0.114.7"];
    const rebinding = new GatewaySource(named, {
      limits: LIMITS,
      resolve: () => Promise.resolve(answers),
    });
    // Nobody answers at that address; what matters is that the next one is not asked.
    await rebinding.fetch(cid).catch(() => undefined);
    answers = ["127.0.0.1"];
    expect(await faultFrom(() => rebinding.fetch(cid))).to.equal("redirected");
    expect(gateway.requests).to.deep.equal([]);
    await rebinding.close();
  });

  it("is connected to at the address that was checked, and at no other that its name has", async () => {
    gateway.answer = giving(bytes);
    const named = new URL(url);
    named.hostname = "localhost";
    for (const [address, expected] of [
      ["127.0.0.1", bytes],
      ["127.0.0.2", "unreachable"],
    ] as const) {
      const checked = new GatewaySource(named, { limits: LIMITS, resolve: () => Promise.resolve([address]) });
      const found = await checked.fetch(cid).catch((error: unknown) => faultOf(error).fault);
      expect(found).to.deep.equal(expected);
      await checked.close();
    }
    expect(gateway.requests.length).to.equal(1);
  });

  it("is asked over a new connection when it has closed the one that was kept", async () => {
    const used = new Set<unknown>();
    gateway.answer = (response, request) => {
      if (used.has(request.socket)) request.socket.destroy();
      else giving(bytes)(response, request);
      used.add(request.socket);
    };
    for (let i = 0; i < 3; i++) expect(await source.fetch(cid)).to.deep.equal(bytes);
    expect(used.size).to.equal(3);
  });

  it("is let go at once when another was quicker", async () => {
    gateway.answer = silent;
    const controller = new AbortController();
    const fetching = source.fetch(cid, controller.signal);
    setTimeout(() => controller.abort(), 20);
    const error = await fetching.catch((reason: unknown) => reason as Error);
    expect((error as Error).name).to.equal("AbortError");
  });
});

describe("A CAR at a URL as a source", () => {
  let server: HostileGateway;
  let source: CarUrlSource;
  const car = new Uint8Array(Buffer.concat([...encodeCar([cid], [{ cid, bytes }])]));
  const CAR = { "content-type": "application/vnd.ipld.car" };

  beforeEach(async () => {
    server = new HostileGateway();
    const url = new URL("/history.car", await server.start());
    source = new CarUrlSource(url, { maxBytes: 1024 * 1024, loadMs: 500 });
  });
  afterEach(async () => {
    await source.close();
    await server.stop();
  });

  it("is loaded once, and read from then on", async () => {
    server.answer = giving(car, CAR);
    expect(await source.fetch(cid)).to.deep.equal(bytes);
    expect(await source.fetch(cidOf(fixedBytes("another")))).to.equal(null);
    expect(await source.fetch(cid)).to.deep.equal(bytes);
    expect(server.requests.length).to.equal(1);
  });

  it("is loaded again after it failed", async () => {
    server.answer = giving(car, CAR, 503);
    expect(await faultFrom(() => source.fetch(cid))).to.equal("busy");
    server.answer = giving(car, CAR);
    expect(await source.fetch(cid)).to.deep.equal(bytes);
  });

  for (const [title, answer, fault] of [
    ["a web page", giving(new TextEncoder().encode("<!doctype html>"), { "content-type": "text/html" }), "wrong"],
    ["half a CAR", giving(car.subarray(0, -1), CAR), "wrong"],
    [
      "more than it may",
      giving(new Uint8Array(Buffer.concat([car, ...Array<Uint8Array>(2e4).fill(car.subarray(59))])), CAR),
      "large",
    ],
    ["a byte now and then", trickling, "slow"],
  ] as const) {
    it(`is let go when it gives ${title}`, async () => {
      server.answer = answer;
      expect(await faultFrom(() => source.fetch(cid))).to.equal(fault);
    });
  }
});
