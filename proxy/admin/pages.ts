import { format, json, noSuchFormat, type Page, text } from "./page.ts";
import type { AdminSource } from "./source.ts";
import { prometheus, stats } from "./stats-pages.ts";
import { clustersJson, clustersText, listenersJson, listenersText, serverInfo } from "./status.ts";

/** A path of the admin endpoint. */
export interface Endpoint {
  readonly method: "GET" | "POST";
  readonly help: string;
  readonly answer: (source: AdminSource, query: URLSearchParams) => Page | Promise<Page>;
}

const textOrJson = ["text", "json"] as const;

/** All paths, in the words of Envoy's administration interface. */
export const endpoints: Readonly<Record<string, Endpoint>> = {
  "/": { method: "GET", help: "this page", answer: () => text(help()) },
  "/clusters": {
    method: "GET",
    help: "upstream clusters and their endpoints (?format=text|json)",
    answer: async (source, query) => {
      const as = format(query, textOrJson);
      if (as === undefined) return noSuchFormat(textOrJson);
      const clusters = await source.clusters();
      return as === "json" ? json(clustersJson(clusters)) : text(clustersText(clusters));
    },
  },
  "/config_dump": {
    method: "GET",
    help: "the configuration in use and what was refused, without secrets",
    // Loaded when it is asked for: it brings along all of Envoy's bootstrap, which nothing else here needs.
    answer: async (source) => json((await import("./config-dump.ts")).configDump(source)),
  },
  "/drain_listeners": {
    method: "POST",
    help: "close the listeners and let connections come to their end",
    answer: (source) => {
      source.drainListeners();
      return text("OK");
    },
  },
  "/healthcheck/fail": {
    method: "POST",
    help: "be no longer ready, and end each connection after its next answer, so that clients go elsewhere",
    answer: (source) => {
      source.failHealth(true);
      return text("OK");
    },
  },
  "/healthcheck/ok": {
    method: "POST",
    help: "take /healthcheck/fail back",
    answer: (source) => {
      source.failHealth(false);
      return text("OK");
    },
  },
  "/listeners": {
    method: "GET",
    help: "listeners and their addresses (?format=text|json)",
    answer: (source, query) => {
      const as = format(query, textOrJson);
      if (as === undefined) return noSuchFormat(textOrJson);
      return as === "json" ? json(listenersJson(source)) : text(listenersText(source));
    },
  },
  "/ready": {
    method: "GET",
    help: "LIVE with status 200 when requests are served, otherwise the state with status 503",
    answer: (source) => {
      const state = source.state();
      return text(state, state === "LIVE" ? 200 : 503);
    },
  },
  "/reopen_logs": {
    method: "POST",
    help: "open the access logs' files anew, after a rotation; OK: nothing more is written to those of before",
    answer: async (source) =>
      (await source.reopenLogs()) ? text("OK") : text("a file of before may still be written to; try again", 503),
  },
  "/server_info": {
    method: "GET",
    help: "version, state and uptime",
    answer: (source) => json(serverInfo(source)),
  },
  "/stats": {
    method: "GET",
    help: "statistics (?filter=REGEX, ?usedonly, ?format=text|json|prometheus)",
    answer: stats,
  },
  "/stats/prometheus": {
    method: "GET",
    help: "statistics for Prometheus (?filter=REGEX, ?usedonly)",
    answer: prometheus,
  },
  "/workers": {
    method: "POST",
    help: "change the number of worker threads (?count=N)",
    answer: (source, query) => {
      const count = Number(query.get("count") ?? "");
      return source.setWorkers(count) ? text("OK") : text("count must be a number of workers, at least 1", 400);
    },
  },
};

function help(): string {
  const width = Math.max(...Object.keys(endpoints).map((path) => path.length));
  const lines = Object.entries(endpoints).map(
    ([path, endpoint]) => `  ${path.padEnd(width)}  ${endpoint.method === "POST" ? "(POST) " : ""}${endpoint.help}`,
  );
  return ["admin commands are:", ...lines].join("\n");
}
