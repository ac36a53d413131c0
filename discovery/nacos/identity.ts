import { DiscoveryError } from "../source.ts";

import type { NacosHttp } from "./http.ts";
import { NacosLogin } from "./login.ts";
import type { NacosSettings } from "./settings.ts";
import { type NacosKeys, type NacosResource, signed } from "./signature.ts";

/** Who we are to a Nacos: the token of a login, signatures with an access key, both, or nobody. */
export class NacosIdentity {
  readonly #login: NacosLogin;
  readonly #keys: NacosKeys | undefined;

  constructor(http: NacosHttp, settings: Pick<NacosSettings, "username" | "password" | "keys">, login?: NacosLogin) {
    this.#login = login ?? new NacosLogin(http, settings.username, settings.password);
    this.#keys = settings.keys;
  }

  /**
   * What a request carries now.
   * @param about the service that it concerns; requests that concern none are not signed
   * @throws {DiscoveryError} unauthenticated, when the login is refused
   */
  async parameters(about?: NacosResource): Promise<Readonly<Record<string, string>>> {
    const accessToken = await this.#login.token();
    return {
      ...(accessToken !== "" && { accessToken }),
      ...(this.#keys !== undefined && about !== undefined && signed(this.#keys, about, Date.now())),
    };
  }

  /**
   * Asks, and once more with another token if the server denies it: it may have forgotten the first when it restarted.
   * @param ask throws a DiscoveryError "permission_denied" when the server denies it
   * @throws {DiscoveryError} unauthenticated, when it denies us because we are nobody
   */
  async asking<T>(ask: () => Promise<T>): Promise<T> {
    const token = await this.#login.token();
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof DiscoveryError) || error.kind !== "permission_denied") throw error;
      if (this.#login.needed) {
        this.#login.refused(token);
        return await ask();
      }
      if (this.#keys !== undefined) throw error;
      throw new DiscoveryError("unauthenticated", error.message, { cause: error });
    }
  }
}
