import { readFileSync } from "node:fs";

import { expect } from "chai";

import { Counter, Histogram } from "../../http/metrics/counter.ts";
import { exposition } from "../../http/metrics/exposition.ts";
import { startIndexer } from "../../indexer/indexer.ts";
import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { EmbeddedStore } from "../../io/content/embedded.ts";
import { ReplicatedStore } from "../../io/content/replicated.ts";
import { deploy, startChain } from "../fixtures/chain.ts";
import { Conversation } from "../fixtures/conversation.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, deltaOf } from "../fixtures/history.ts";
import { get, getOk, waitFor, waitForBlock } from "../fixtures/indexer-client.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { conversation, forkOf, useIndexers } from "../fixtures/served-history.ts";

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$/;

/** A strict reader of the text format: every line is a comment of a family that follows, or a sample of the last one. */
function parse(text: string): Sample[] {
  expect(text.endsWith("\n")).to.equal(true);
  const samples: Sample[] = [];
  const families = new Map<string, string>();
  let family = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const [, kind, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind === "HELP") {
      expect(families.has(name), `${name} twice`).to.equal(false);
      family = name;
      continue;
    }
    if (kind === "TYPE") {
      expect(name).to.equal(family);
      families.set(name, rest);
      continue;
    }
    const [, sample = "", labelText = "", value = ""] = LINE.exec(line) ?? expect.fail(`no sample: ${line}`);
    const suffixes = families.get(family) === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    expect(
      suffixes.map((suffix) => family + suffix),
      line,
    ).to.include(sample);
    const labels = Object.fromEntries(
      [...labelText.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, text]) => [
        label!,
        JSON.parse(`"${text!}"`) as string,
      ]),
    );
    samples.push({ name: sample, labels, value: value === "+Inf" ? Infinity : Number(value) });
    expect(samples.at(-1)!.value, line).not.to.be.NaN;
  }
  const keys = samples.map(({ name, labels }) => name + JSON.stringify(Object.entries(labels).sort()));
  expect(new Set(keys).size, "no sample twice").to.equal(keys.length);
  return samples;
}

async function scrape(url: string): Promise<Sample[]> {
  const response = await fetch(`${url}/metrics`);
  expect(response.headers.get("content-type")).to.equal("text/plain; version=0.0.4; charset=utf-8");
  return parse(await response.text());
}

function valueOf(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number | undefined {
  return samples.find(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  )?.value;
}

/** Metric names and the labels that a query uses with each of them. */
function usesOf(query: string): { name: string; labels: string[] }[] {
  const grouped = [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/, */));
  return [...query.matchAll(/\b((?:dmtp|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)].map(([, name, selector = ""]) => ({
    name: name!,
    labels: [...grouped, ...[...selector.matchAll(/(\w+)=/g)].map(([, label]) => label!)],
  }));
}

describe("the indexer's metrics", () => {
  const start = useIndexers();
  const folder = useFolder();

  it("are written as the text format says, whatever is in a label", () => {
    const counter = new Counter({ name: "c_total", help: "Back\\slash and\nline." });
    counter.add({ text: 'a "quote", a \\ and a\nline' }, 2);
    counter.add({ text: 'a "quote", a \\ and a\nline' });
    const histogram = new Histogram({ name: "h", help: "H." }, [1, 2.5]);
    for (const value of [0.5, 1, 1.5, 2.5, 99]) histogram.observe(value);
    const text = exposition([counter.family, histogram.family]);
    expect(text).to.equal(
      [
        "# HELP c_total Back\\\\slash and\\nline.",
        "# TYPE c_total counter",
        'c_total{text="a \\"quote\\", a \\\\ and a\\nline"} 3',
        "# HELP h H.",
        "# TYPE h histogram",
        'h_bucket{le="1"} 2',
        'h_bucket{le="2.5"} 4',
        'h_bucket{le="+Inf"} 5',
        "h_sum 104.5",
        "h_count 5",
        "",
      ].join("\n"),
    );
    expect(valueOf(parse(text), "c_total", { text: 'a "quote", a \\ and a\nline' })).to.equal(3);
  });

  it("say what /status says, and count reorgs by depth through a restart", async () => {
    const history = conversation(4);
    const lost = history.message(ALICE, BOB, { text: "lost", seq: 9 });
    history.anchor(deltaOf([history.room(ALICE, BOB), [lost]]));
    const chain = new ScriptedChain(history);
    chain.finalized = 102;
    const { fork, from } = forkOf(history, 5, ["other"]);
    const content = new WithheldStore(fork.blocks);
    content.withheld.add(lost);
    let indexer = await start(chain, content);
    await waitForBlock(indexer.url, 106, 1);
    const before = await scrape(indexer.url);
    expect(valueOf(before, "dmtp_reorg_depth_blocks_count")).to.equal(0);
    expect(valueOf(before, "dmtp_cids", { state: "absent" })).to.equal(1);
    expect(valueOf(before, "dmtp_messages", { verdict: "missing" })).to.equal(1);
    chain.replace(fork, from, "fork");
    await waitForBlock(indexer.url, 106);
    for (const restart of [false, true]) {
      if (restart) {
        await indexer.close();
        indexer = await start(chain, content);
        await waitForBlock(indexer.url, 106);
      }
      const samples = await scrape(indexer.url);
      const { head, indexed, finalized, counts } = await getOk(indexer.url, "/status");
      const expected: [string, Record<string, string>, number][] = [
        ["dmtp_head_block", {}, head.block],
        ["dmtp_indexed_block", {}, indexed.block],
        ["dmtp_finalized_block", {}, finalized],
        ["dmtp_lag_blocks", {}, 0],
        ["dmtp_ready", {}, 1],
        ["dmtp_finality_alarm", {}, 0],
        ["dmtp_rooms", {}, counts.rooms],
        ["dmtp_key_events", {}, counts.keys],
        ["dmtp_messages", { verdict: "verified" }, counts.messages.verified],
        ["dmtp_anchors", { verdict: "verified" }, counts.anchors.verified],
        ["dmtp_cids", { state: "absent" }, 0],
        ["dmtp_cids", { state: "verified" }, Number(counts.messages.verified) + Number(counts.anchors.verified)],
        // From block 106 back to 104.
        ["dmtp_reorg_depth_blocks_count", {}, 1],
        ["dmtp_reorg_depth_blocks_sum", {}, 2],
        ["dmtp_reorg_depth_blocks_bucket", { le: "1" }, 0],
        ["dmtp_reorg_depth_blocks_bucket", { le: "3" }, 1],
      ];
      for (const [name, labels, value] of expected) {
        expect(valueOf(samples, name, labels), `${name} ${JSON.stringify(labels)}`).to.equal(value);
      }
    }
  });

  it("count requests by route and status, and give no path that a client made up", async () => {
    const { url } = await start(new ScriptedChain(conversation(1)), new WithheldStore(new Map()));
    await waitFor("a first look", async () => (await get(url, "/status")).body.indexed !== null);
    for (let i = 0; i < 3; i++) await get(url, "/v1/anchors?limit=1");
    await get(url, "/v1/anchors?limit=0");
    await get(url, "/v1/anchors/12345");
    await get(url, "/secret/path");
    const samples = await scrape(url);
    const count = (route: string, status: string) =>
      valueOf(samples, "dmtp_http_request_duration_seconds_count", { route, status });
    expect(count("/v1/anchors", "200")).to.equal(3);
    expect(count("/v1/anchors", "400")).to.equal(1);
    expect(count("/v1/anchors/{index}", "404")).to.equal(1);
    expect(count("none", "404")).to.equal(1);
    expect(JSON.stringify(samples)).not.to.match(/secret|12345/);
    const buckets = samples.filter(
      ({ name, labels }) =>
        name.endsWith("seconds_bucket") && labels["route"] === "/v1/anchors" && labels["status"] === "200",
    );
    expect(buckets.map(({ value }) => value)).to.deep.equal(
      buckets.map(({ value }) => value).toSorted((a, b) => a - b),
    );
    expect(buckets.at(-1)).to.deep.include({ labels: { route: "/v1/anchors", status: "200", le: "+Inf" }, value: 3 });
  });

  it("are there for every query of the dashboard and the alerts, with the labels that these use", async () => {
    const chain = await startChain();
    const deployed = await deploy(chain.url);
    const content = new ReplicatedStore([new EmbeddedStore(`${folder()}/blocks`)], []);
    try {
      const talk = new Conversation(deployed, content);
      await talk.register(ALICE);
      await talk.register(BOB);
      await talk.anchor(deltaOf([talk.room(ALICE, BOB), [await talk.send(ALICE, BOB, "Hi")]]));
      const indexer = await startIndexer({
        rpcs: [httpRpc(chain.url)],
        addresses: deployed.deployment,
        content,
        indexPath: `${folder()}/index.sqlite`,
        host: "127.0.0.1",
        port: 0,
        pollIntervalMs: 20,
      });
      await waitForBlock(indexer.url, await deployed.provider.getBlockNumber());
      await deployed.provider.send("anvil_mine", ["0x64"]);
      await waitFor("finality", async () => (await getOk(indexer.url, "/status")).finalized !== null);
      await chain.stop();
      await waitFor("a failed call", async () =>
        (await scrape(indexer.url)).some(
          ({ name, labels }) => name === "dmtp_rpc_errors_total" && labels["fault"] === "network",
        ),
      );
      const samples = await scrape(indexer.url);
      expect(valueOf(samples, "dmtp_rpc_calls_total", { provider: "0", method: "eth_getLogs" })).to.be.greaterThan(0);
      expect(valueOf(samples, "dmtp_content_answers_total", { source: "0", answer: "found" })).to.equal(6);
      expect(valueOf(samples, "dmtp_content_answers_total", { source: "0", answer: "unreachable" })).to.equal(0);
      expect(valueOf(samples, "dmtp_content_suspended", { source: "0" })).to.equal(0);
      expect(JSON.stringify(samples), "no endpoint's name").not.to.include(new URL(chain.url).port);
      await indexer.close();

      const dashboard = JSON.parse(readFileSync("indexer/metrics/grafana.json", "utf8")) as {
        panels: { title: string; targets: { expr: string }[] }[];
      };
      const alerts = readFileSync("indexer/metrics/alerts.yml", "utf8");
      const queries = [
        ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
        ...[...alerts.matchAll(/^ +expr: (.*)$/gm)].map(([, expr]) => expr!),
      ];
      expect(queries.length).to.be.greaterThan(20);
      for (const query of queries) {
        const uses = usesOf(query);
        expect(uses, query).not.to.be.empty;
        for (const { name, labels } of uses) {
          const known = samples.filter((sample) => sample.name === name);
          expect(known, `${name} of ${query}`).not.to.be.empty;
          // These two every scrape adds.
          const own = labels.filter((label) => label !== "job" && label !== "instance");
          for (const label of own) expect(known[0]!.labels, `${label} of ${query}`).to.have.property(label);
        }
      }
      // And nothing is exposed that nobody looks at.
      const used = new Set(queries.flatMap(usesOf).map(({ name }) => name.replace(/_(bucket|sum|count)$/, "")));
      const exposed = new Set(samples.map(({ name }) => name.replace(/_(bucket|sum|count)$/, "")));
      const idle = [...exposed].filter((name) => !used.has(name));
      expect(idle).to.have.members([
        "dmtp_content_reachable",
        "dmtp_indexed_timestamp_seconds",
        "dmtp_key_events",
        "dmtp_rooms",
        "process_start_time_seconds",
      ]);
    } finally {
      deployed.close();
      await chain.stop();
      await content.close();
    }
  }).timeout(60_000);
});
