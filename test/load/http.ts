/**
 * CPU per proxied request: the native proxy beside Envoy and nginx, in one run. Each has one worker, 1,000 routes, a request id, a JSON
 * access log in a file, and its metrics on; the native proxy and Envoy get the same resources from the same control plane.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { stringify } from "yaml";

import { ControlPlane, startEnvoy, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { Program, run } from "../support/processes.ts";
import { envoy, nginx, wrk } from "../support/tools.ts";
import { waitFor } from "../support/wait.ts";
import { cpuSeconds, residentMb } from "./cpu.ts";
import { median, table } from "./table.ts";

const SERVICES = 100;
const ROUTES = 10;

interface Peer {
  name: string;
  port: number;
  pid: number;
}

interface Sample {
  requestsPerSecond: number;
  cpuMicros: number;
  p99Ms: number;
}

interface Case {
  name: string;
  connections: number;
  path: string;
}

const cases: Case[] = [
  { name: "GET, 1 connection", connections: 1, path: "small" },
  { name: "GET, 64 connections", connections: 64, path: "small" },
  { name: "GET 10 kB, 64 connections", connections: 64, path: "10k" },
];

/** Runs the whole comparison and prints its table. `seconds` is the length of each of the three rounds of a case and peer. */
export async function benchHttp(seconds = 4): Promise<void> {
  const dir = await temporaryDir();
  const programs: Program[] = [];
  try {
    const [envoyPath, nginxTool, wrkTool] = await Promise.all([envoy(), nginx(), wrk()]);
    const upstreamPort = await freePort();
    const startNginx = async (name: string, port: number, config: string) => {
      const prefix = join(dir.path, name);
      await mkdir(prefix, { recursive: true });
      await writeFile(join(prefix, "nginx.conf"), config);
      const program = new Program(nginxTool.path, [
        "-p",
        prefix,
        "-c",
        join(prefix, "nginx.conf"),
        "-e",
        join(prefix, "error.log"),
      ]);
      programs.push(program);
      await waitFor(name, async () => {
        if (program.exited) throw new Error(`it ended: ${program.stderr}`);
        return (await ask(port, { path: "/", headers: { host: host(0) } })).status > 0;
      });
      return program;
    };
    await startNginx("upstream", upstreamPort, upstreamConfig(upstreamPort));

    const peers: Peer[] = [];
    const nginxPort = await freePort();
    const peer = await startNginx("nginx", nginxPort, proxyConfig(nginxPort, upstreamPort));
    peers.push({ name: "nginx", port: nginxPort, pid: peer.pid });

    const plane = await ControlPlane.start(join(dir.path, "data"));
    programs.push(plane.program);
    const ports = { native: await freePort(), envoy: await freePort() };
    const file = join(dir.path, "gateway.yaml");
    await writeFile(file, gatewayFile(ports, upstreamPort, dir.path));
    const applied = await plane.sluice("apply", "-f", file);
    if (applied.code !== 0) throw new Error(applied.stderr);
    const native = await startProxy(plane.xdsPort, { group: "native", workers: 1 });
    programs.push(native.program);
    peers.push({ name: "native", port: ports.native, pid: native.program.pid });
    const theirs = await startEnvoy(envoyPath, plane.xdsPort, { group: "envoy" });
    programs.push(theirs.program);
    peers.push({ name: "envoy", port: ports.envoy, pid: theirs.program.pid });
    for (const { name, port } of peers) {
      await waitFor(
        `${name} to answer`,
        async () => (await ask(port, { path: "/api/v3/items/small", headers: { host: host(7) } })).status === 200,
      );
    }

    const load = async (target: Peer, { connections, path }: Case): Promise<Sample> => {
      const script = join(dir.path, `${path}.lua`);
      await writeFile(script, wrkScript(path));
      const before = cpuSeconds(target.pid);
      const args = [
        "-t1",
        `-c${connections}`,
        `-d${seconds}s`,
        "--latency",
        "-s",
        script,
        `http://127.0.0.1:${target.port}/`,
      ];
      const { stdout, stderr } = await run(wrkTool.path, args, { env: wrkTool.env });
      const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
      if (requests === 0 || /Non-2xx/.test(stdout)) throw new Error(`${target.name}: ${stdout}${stderr}`);
      const [, p99, unit] = /99%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? [];
      return {
        requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]),
        cpuMicros: ((cpuSeconds(target.pid) - before) / requests) * 1e6,
        p99Ms: Number(p99) * ({ us: 0.001, ms: 1, s: 1000 }[unit ?? ""] ?? Number.NaN),
      };
    };

    // Once unmeasured, so that code is compiled and connections are open.
    for (const each of peers) await load(each, cases[1] as Case);
    const rows: string[][] = [];
    for (const each of cases) {
      const samples = new Map(peers.map(({ name }) => [name, [] as Sample[]]));
      for (let round = 0; round < 3; round++) {
        for (const target of peers) samples.get(target.name)?.push(await load(target, each));
      }
      const of = (name: string, key: keyof Sample) => median((samples.get(name) ?? []).map((sample) => sample[key]));
      for (const { name } of peers) {
        const ratio = (to: string) => (of(name, "cpuMicros") / of(to, "cpuMicros")).toFixed(2);
        rows.push([
          ...[each.name, name, of(name, "cpuMicros").toFixed(1), ratio("envoy"), ratio("nginx")],
          ...[of(name, "requestsPerSecond").toFixed(0), of(name, "p99Ms").toFixed(2)],
        ]);
      }
    }
    console.log(table(["case", "proxy", "CPU µs/request", "÷ Envoy", "÷ nginx", "requests/s", "p99 ms"], rows));
    console.log(peers.map(({ name, pid }) => `${name}: ${residentMb(pid).toFixed(0)} MB`).join("   "));
  } finally {
    for (const program of programs.reverse()) await program.stop();
    await dir.remove();
  }
}

const host = (service: number) => `svc-${service}.example.com`;

const gatewayFile = (ports: Record<"native" | "envoy", number>, upstreamPort: number, dir: string): string =>
  stringify(
    {
      gatewayGroups: Object.entries(ports).map(([name, port]) => ({
        name,
        listeners: [{ name: "http", protocol: "http", address: "127.0.0.1", port }],
        accessLog: { path: join(dir, `${name}.log`) },
      })),
      services: Object.keys(ports).flatMap((gatewayGroup) =>
        Array.from({ length: SERVICES }, (_, service) => ({
          name: `svc-${service}`,
          gatewayGroup,
          hosts: [host(service)],
          upstreams: [{ name: "default", nodes: [{ host: "127.0.0.1", port: upstreamPort }] }],
          routes: Array.from({ length: ROUTES }, (_unused, route) => ({
            name: `v${route}`,
            paths: [`/api/v${route}/items/*`],
          })),
        })),
      ),
    },
    { aliasDuplicateObjects: false },
  );

const nginxBase = `daemon off; worker_processes 1; pid nginx.pid;
events { worker_connections 4096; }`;

/** Debian's build would use folders of the system, which only an installed package has. */
const nginxPaths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
  .map((name) => `${name}_temp_path ${name}_temp;`)
  .join(" ");

// One word of nginx's configuration has at most 4 KiB, so a larger body is put together from a variable.
const upstreamConfig = (port: number) => `${nginxBase}
http {
  ${nginxPaths}
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
  server {
    listen 127.0.0.1:${port};
    location / { default_type text/plain; return 200 "hello from the upstream\\n"; }
    location ~ 10k$ { default_type text/plain; set $kilo "${"x".repeat(1_000)}"; return 200 "${"$kilo".repeat(10)}"; }
  }
}`;

const proxyConfig = (port: number, upstreamPort: number) => `${nginxBase}
http {
  ${nginxPaths}
  log_format json escape=json '{"time":"$time_iso8601","method":"$request_method","path":"$request_uri","status":$status,'
    '"received":$request_length,"sent":$bytes_sent,"duration":$request_time,"upstream":"$upstream_addr","host":"$host",'
    '"id":"$request_id","client":"$remote_addr","agent":"$http_user_agent"}';
  access_log access.log json buffer=64k flush=1s;
  keepalive_requests 1000000000; keepalive_timeout 3600; server_names_hash_max_size 2048;
  upstream backend { server 127.0.0.1:${upstreamPort}; keepalive 128; keepalive_requests 1000000000; }
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Request-Id $request_id; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
${Array.from(
  { length: SERVICES },
  (_, service) => `  server { listen 127.0.0.1:${port}; server_name ${host(service)};
${Array.from({ length: ROUTES }, (_unused, route) => `    location /api/v${route}/items/ { proxy_pass http://backend; }`).join("\n")}
  }`,
).join("\n")}
}`;

/** wrk asks for every service and route in turn. */
const wrkScript = (path: string) => `
local requests = {}
for s = 0, ${SERVICES - 1} do
  for r = 0, ${ROUTES - 1} do
    requests[#requests + 1] = wrk.format("GET", "/api/v" .. r .. "/items/${path}", {
      ["Host"] = "svc-" .. s .. ".example.com", ["User-Agent"] = "wrk", ["Accept"] = "*/*"
    })
  end
end
local at = 0
request = function()
  at = at % #requests + 1
  return requests[at]
end
`;
