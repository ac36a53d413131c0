import { Consul } from "../support/consul.ts";
import { Kube } from "../support/kube.ts";
import { machineAddress } from "../support/machine-address.ts";

/** A real registry, as the benchmark changes it. */
export interface BenchRegistry {
  readonly name: string;
  /** Where instances listen. */
  readonly address: string;
  /** Its entry in a gateway file, with the name "bench". */
  readonly entry: string;
  /** Lets the one instance of a service be at this port. */
  move(service: string, port: number): Promise<void>;
  stop(): Promise<void>;
}

/** The registries of the target "registry event to native proxy". */
export const benchRegistries: readonly (() => Promise<BenchRegistry>)[] = [startConsul, startKubernetes];

async function startConsul(): Promise<BenchRegistry> {
  const consul = await Consul.start({ connectionLimit: true });
  return {
    name: "Consul",
    address: "127.0.0.1",
    entry: `{ name: bench, consul: { addresses: ["${consul.url}"] } }`,
    move: async (service, port) => {
      // Right into the catalog: an agent adds what it was told some time later, which is not ours to measure.
      await consul.call("PUT", "/v1/catalog/register", {
        ...{ Node: "elsewhere", Address: "127.0.0.1", SkipNodeUpdate: true },
        Service: { ID: service, Service: service, Address: "127.0.0.1", Port: port },
      });
    },
    stop: () => consul.stop(),
  };
}

async function startKubernetes(): Promise<BenchRegistry> {
  const kube = await Kube.start();
  const address = machineAddress();
  return {
    name: "Kubernetes",
    address,
    entry: `{ name: bench, kubernetes: { kubeconfig: { file: "${await kube.kubeconfig()}" } } }`,
    move: async (service, port) => {
      const slice = {
        metadata: { name: service, namespace: "default", labels: { "kubernetes.io/service-name": service } },
        addressType: "IPv4",
        ports: [{ name: "http", port }],
        endpoints: [{ addresses: [address], conditions: { ready: true } }],
      };
      await kube.putSlice("default", slice);
    },
    stop: () => kube.stop(),
  };
}
