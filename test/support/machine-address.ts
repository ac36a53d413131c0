import { networkInterfaces } from "node:os";

/** An address of this machine that Kubernetes takes for an endpoint: it refuses loopback. */
export function machineAddress(): string {
  const found = Object.values(networkInterfaces())
    .flat()
    .find((one) => one?.family === "IPv4" && !one.internal);
  if (found === undefined) throw new Error("this machine has no IPv4 address but loopback");
  return found.address;
}
