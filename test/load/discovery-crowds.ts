import { KubeScript, serviceOf } from "../support/kube-script.ts";
import { ScriptedConsul } from "../support/scripted-consul.ts";

/** A scripted registry with many services, all of them watched. */
export interface CrowdRegistry extends AsyncDisposable {
  readonly name: string;
  /** Its entry in a gateway file, with the name "bench". */
  readonly entry: string;
  /** What upstreams name to find the service of this number. */
  key(service: number): string;
  /** The ports of a service's instances from now on. */
  set(service: number, ports: readonly number[]): void;
  /** Whether all was told that was set. */
  isTold(): boolean;
  /** Gives all services anew, which nobody was told before, in one go. */
  relist(ports: (service: number) => readonly number[]): void;
}

/** Consul, which is asked service by service. */
export async function consulCrowd(services: number): Promise<CrowdRegistry> {
  const consul = await ScriptedConsul.start();
  const set = (service: number, ports: readonly number[]) =>
    consul.setService(
      `s${service}`,
      ports.map((port) => ({ id: `s${service}-${port}`, port })),
    );
  return {
    name: "Consul",
    entry: `{ name: bench, consul: { addresses: ["${consul.url}"] } }`,
    key: (service) => `service: s${service}`,
    set,
    isTold: () => consul.untold === 0,
    relist: (ports) => {
      for (let at = 0; at < services; at++) set(at, ports(at));
    },
    [Symbol.asyncDispose]: () => consul[Symbol.asyncDispose](),
  };
}

/** Kubernetes, which tells everything over two watches, and after "410 Gone" all of it again. */
export async function kubernetesCrowd(services: number): Promise<CrowdRegistry> {
  const kube = await KubeScript.start();
  const { server, ca = "" } = kube.access();
  const put = (service: number, ports: readonly number[], silent: boolean) => {
    const slice = {
      metadata: {
        ...{ name: `s${service}-x`, namespace: "default", uid: `u${service}` },
        labels: { "kubernetes.io/service-name": `s${service}` },
      },
      addressType: "IPv4",
      ports: [{ name: "http", port: 8080, protocol: "TCP" }],
      // A port of its own per instance is what other registries have; here it is a pod's address.
      endpoints: ports.map((port) => ({
        addresses: [`10.${service >> 8}.${service & 255}.${port & 255}`],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: `node-${port & 63}`,
        targetRef: { kind: "Pod", name: `s${service}-${port}`, namespace: "default" },
        zone: `zone-${port % 3}`,
      })),
    };
    kube.put("endpointslices", slice, silent);
  };
  for (let at = 0; at < services; at++) kube.put("services", serviceOf(`s${at}`), true);
  const indented = ca.trim().replaceAll("\n", "\\n");
  return {
    name: "Kubernetes",
    entry: `{ name: bench, kubernetes: { apiServer: { url: "${server.href}", token: { value: good }, tls: { caCertificates: "${indented}" } } } }`,
    key: (service) => `service: s${service}, namespace: default`,
    set: (service, ports) => put(service, ports, false),
    isTold: () => kube.watching("endpointslices") === 1 && kube.watching("services") === 1,
    relist: (ports) => {
      for (let at = services - 1; at >= 0; at--) put(at, ports(at), true);
      kube.send("endpointslices", { type: "ERROR", object: { code: 410, reason: "Expired", message: "too old" } });
      kube.endWatches("endpointslices");
    },
    [Symbol.asyncDispose]: () => kube.close(),
  };
}
