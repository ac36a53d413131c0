import { isIP, type Socket } from "node:net";
import { performance } from "node:perf_hooks";

import type { Endpoint } from "../cluster/cluster.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import type { ResetReason } from "../reply.ts";
import { describeFailure, openSocket, type SocketOptions } from "./open-socket.ts";

/** How to connect to an endpoint, and for how long to try, whichever of its addresses. */
export interface DialOptions extends Omit<SocketOptions, "over"> {
  readonly connectTimeoutMs: number;
}

/** Who wants a connection. One of the two is called, once, and not before the Dial is made. */
export interface Dialler {
  /** Connected, and with TLS shaken hands. From here on the socket is the dialler's. */
  onDialled(socket: Socket, dial: Dial): void;
  /** `transportFailure`: why, in the words of {@link describeFailure}; "": nothing more is known. */
  onDialFailed(reason: ResetReason, transportFailure: string, dial: Dial): void;
}

const ON_TIMEOUT = 0;
const ON_DELAY = 1;

/** How long one of several addresses has to itself before the next one is tried, too (Envoy's delay; RFC 8305, 5 recommends 250). */
const ATTEMPT_DELAY_MS = 300;

/**
 * Connects to an endpoint. Of several addresses each gets a start of its own, when the one before it has failed or had its time; those under way
 * go on, the first that is ready wins, and the others are closed (RFC 8305, 5: happy eyeballs). For breakers and statistics all of it is one
 * connection, as in Envoy.
 */
export class Dial implements TimerOwner {
  readonly options: DialOptions;
  readonly startedAt = performance.now();

  readonly #dialler: Dialler;
  readonly #addresses: readonly string[];
  readonly #attempts = new Set<Socket>();
  readonly #timeout = new Timer(this, ON_TIMEOUT);
  #delay: Timer | undefined = undefined;
  #tried = 0;
  #failure = "";
  #done = false;

  constructor(options: DialOptions, dialler: Dialler) {
    this.options = options;
    this.#dialler = dialler;
    this.#addresses = familiesInTurn(options.endpoint);
    timers.schedule(this.#timeout, options.connectTimeoutMs);
    this.#attempt();
  }

  /** Gives up. The dialler hears no more of it. */
  cancel(): void {
    this.#done = true;
    timers.cancel(this.#timeout);
    if (this.#delay !== undefined) timers.cancel(this.#delay);
    for (const socket of this.#attempts) socket.destroy();
  }

  #attempt(): void {
    const address = this.#addresses[this.#tried++] as string;
    if (this.#tried < this.#addresses.length) {
      timers.schedule((this.#delay ??= new Timer(this, ON_DELAY)), ATTEMPT_DELAY_MS);
    } else if (this.#delay !== undefined) {
      // An attempt that failed sooner has brought this one on; there is no further address, and no address means localhost to Node.
      timers.cancel(this.#delay);
    }
    const onError = (error: NodeJS.ErrnoException) => {
      this.#failure = describeFailure(error);
    };
    const onClose = () => this.#onFailed(socket);
    const socket = openSocket(this.options, address, () => {
      if (this.#done) return;
      socket.off("error", onError).off("close", onClose);
      this.#attempts.delete(socket);
      this.cancel();
      this.#dialler.onDialled(socket, this);
    });
    socket.on("error", onError).on("close", onClose);
    this.#attempts.add(socket);
  }

  #onFailed(socket: Socket): void {
    this.#attempts.delete(socket);
    if (this.#done) return;
    if (this.#tried < this.#addresses.length) return this.#attempt();
    if (this.#attempts.size === 0) this.#fail("remote connection failure", this.#failure);
  }

  #fail(reason: ResetReason, transportFailure: string): void {
    this.cancel();
    this.#dialler.onDialFailed(reason, transportFailure, this);
  }

  onTimer(kind: number): void {
    if (kind === ON_DELAY) return this.#attempt();
    this.#fail("connection timeout", "");
  }
}

/** All addresses, the families in turn, beginning with the first one's (RFC 8305, 4; Envoy HappyEyeballsConnectionProvider::sortAddresses). */
function familiesInTurn({ address, additionalAddresses }: Endpoint): readonly string[] {
  const all = [address, ...additionalAddresses];
  if (all.length === 1) return all;
  const family = isIP(address);
  const own = all.filter((one) => isIP(one) === family);
  const others = all.filter((one) => isIP(one) !== family);
  const turns = Array.from({ length: Math.max(own.length, others.length) }, (_, at) => [own[at], others[at]]);
  return turns.flat().filter((one) => one !== undefined);
}
