import { join, relative } from "node:path";

import { NodeState, type ProxyNode } from "#sluice/admin/v1/status_service_pb.ts";
import type { Gateway } from "#sluice/model/v1/gateway_pb.ts";
import { type Listener, ListenerProtocol } from "#sluice/model/v1/gateway_group_pb.ts";

import { TOKEN_FILE } from "../connection.ts";
import type { Paint } from "../terminal.ts";
import { version } from "../version.ts";
import type { Demo } from "./demo.ts";
import { refusalsOf } from "./nodes.ts";
import type { UpOptions } from "./up.ts";

/** What `up` knows once everything runs. */
export interface Running {
  readonly options: UpOptions;
  readonly addresses: Readonly<Record<string, string>>;
  /** Undefined with --no-proxy. */
  readonly proxyAddresses: Readonly<Record<string, string>> | undefined;
  /** The proxy's group with its services. */
  readonly gateway: Gateway | undefined;
  readonly demo: Demo | undefined;
  /** Undefined if the proxy did not get ready in time, or there is none. */
  readonly node: ProxyNode | undefined;
  readonly directory: string;
}

/** What `up` prints when it is up: addresses, where the token is, and what to try next. */
export function banner(running: Running, style: Paint): string {
  const { options, addresses, proxyAddresses, gateway, demo, node, directory } = running;
  const scheme = options.adminTlsCert === undefined ? "http" : "https";
  const data = shortPath(directory);
  const token = join(data, TOKEN_FILE);
  const listeners = gateway?.gatewayGroups.find(({ name }) => name === options.group)?.listeners ?? [];
  const rows: (readonly [string, string])[] = [
    ...listeners
      .filter(() => proxyAddresses !== undefined)
      .map((listener) => [`proxy ${listener.name}`, listenerUrl(listener)] as const),
    ["admin API", `${scheme}://${addresses["admin"] ?? options.admin}`],
    ["xDS", addresses["xds"] ?? options.xds],
    ...(proxyAddresses === undefined
      ? []
      : [["proxy admin", `http://${proxyAddresses["proxyAdmin"] ?? options.proxyAdmin}`] as const]),
    ["data", data],
    ["admin token", token],
  ];
  const notes = nodeNotes(running).map((note) => `${style("yellow", "!")} ${note}`);
  if (demo?.kind === "left-alone") notes.push("The gateway has services already, so there is no demo.");
  if (listeners.length === 0) {
    notes.push(`The gateway group ${options.group} has no listener yet: apply a gateway file (sluice apply -f FILE).`);
  }
  const first = listeners[0];
  const commands = [
    ...(demo?.kind === "running" && node?.state === NodeState.SYNCED && first !== undefined
      ? [`curl ${listenerUrl(first)}/hello`]
      : []),
    `npx sluice status${dataFlag(options)}`,
    `npx sluice get all -o yaml${dataFlag(options)}`,
    `grpcurl ${scheme === "http" ? "-plaintext " : ""}-H "authorization: Bearer $(cat ${token})" ${addresses["admin"] ?? options.admin} list`,
  ];
  return [
    "",
    style("bold", `Sluice ${version} is up`),
    ...rows.map(([name, value]) => `  ${name.padEnd(14)} ${style("cyan", value)}`),
    ...(notes.length > 0 ? ["", ...notes] : []),
    "",
    "Try next:",
    ...commands.map((command) => `  ${command}`),
    "",
  ].join("\n");
}

function nodeNotes({ proxyAddresses, node, gateway }: Running): string[] {
  if (proxyAddresses === undefined) return [];
  if (node !== undefined) return refusalsOf(node);
  if (gateway === undefined || gateway.gatewayGroups.every(({ listeners }) => listeners.length === 0)) return [];
  return ["The proxy has not taken its configuration yet; sluice status tells how far it is."];
}

/** Where a client on this machine reaches a listener. */
function listenerUrl({ address, port, protocol }: Pick<Listener, "address" | "port" | "protocol">): string {
  const host = address === "" || address === "0.0.0.0" ? "127.0.0.1" : address === "::" ? "::1" : address;
  return `${protocol === ListenerProtocol.HTTPS ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Relative where that is shorter. */
function shortPath(path: string): string {
  const here = relative(process.cwd(), path);
  return here !== "" && here.length < path.length ? here : path;
}

/** Commands that are typed elsewhere must be told where the data is. */
const dataFlag = ({ data }: UpOptions) => (data === undefined || data === ".sluice" ? "" : ` --data ${data}`);
