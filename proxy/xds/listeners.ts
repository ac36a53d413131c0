import type { Listener } from "#envoy/config/listener/v3/listener_pb.ts";

import { probeBind } from "./bind-probe.ts";
import type { Resource } from "./graph.ts";
import { listenAddress } from "./references.ts";

/**
 * Which of the new listeners can't have their address, by name with the reason: because another listener of this proxy has it, or
 * because somebody else on this machine does. Envoy refuses such a listener in the same way (a NACK that names it).
 *
 * `inUse`: the listeners that this proxy has open, whose addresses are ours. `others`: all listeners there will be beside the new ones.
 * `inherited`: addresses that a former process of ours has open.
 */
export async function refusedListeners(
  candidates: readonly Resource[],
  inUse: Iterable<Resource>,
  others: Iterable<Resource>,
  inherited: ReadonlySet<string> = new Set(),
): Promise<Map<string, string>> {
  const refused = new Map<string, string>();
  const ours = new Set([...inUse].map(addressOf));
  const takenBy = new Map<string, string>();
  for (const other of others) takenBy.set(addressOf(other), other.name);
  for (const candidate of candidates) {
    const address = addressOf(candidate);
    const holder = takenBy.get(address);
    if (holder !== undefined) {
      refused.set(candidate.name, `cannot bind '${address}': the listener ${JSON.stringify(holder)} has this address`);
      continue;
    }
    takenBy.set(address, candidate.name);
    const where = listenAddress(candidate.message as Listener);
    if (where === undefined || ours.has(address) || inherited.has(address)) continue;
    const reason = await probeBind(where.host, where.port);
    if (reason !== undefined) refused.set(candidate.name, `cannot bind '${address}': ${reason}`);
  }
  return refused;
}

/** "address:port", IPv6 in brackets; a listener without such an address is its own. */
function addressOf({ name, message }: Resource): string {
  const where = listenAddress(message as Listener);
  if (where === undefined) return `listener ${name}`;
  return where.host.includes(":") ? `[${where.host}]:${where.port}` : `${where.host}:${where.port}`;
}
