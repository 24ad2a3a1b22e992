/** How the service itself is doing. */
import { healthSchema, readySchema, statusSchema } from "../../client/api/service.ts";
import { illness, unreadiness } from "../read/status.ts";
import { route } from "./route.ts";

export const health = route.json(
  {
    path: "/health",
    summary: "Whether the service works; restart it when it says no",
    problems: [503],
    body: healthSchema,
    isLive: true,
  },
  ({ follower }) => {
    const problem = illness(follower);
    if (problem !== null) throw problem;
    return { status: "ok" as const };
  },
);

export const ready = route.json(
  {
    path: "/ready",
    summary: "Whether the answers are current and complete",
    description:
      "503 says why not. Content that was asked for and no source has now does not make it unready: it shows as missing. Neither " +
      "do key documents, nor the rest of an anchor of which little was there, both of which are asked for later.",
    problems: [503],
    body: readySchema,
    isLive: true,
  },
  ({ follower, fetcher, history, snapshots }) => {
    const problem = unreadiness(follower, fetcher, history);
    if (problem !== null) throw problem;
    return snapshots.read(({ at }) => ({ at, status: "ready" as const }));
  },
);

export const status = route.json(
  {
    path: "/status",
    summary: "Deployment, heights, counts, tip and state root",
    body: statusSchema,
    isLive: true,
  },
  (service) => service.snapshots.read((snapshot) => service.status.read(snapshot)),
);

export const metrics = route.metrics(
  {
    path: "/metrics",
    summary: "What Prometheus collects",
    isLive: true,
  },
  ({ metrics }) => metrics.read(),
);
