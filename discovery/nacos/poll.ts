import { DiscoveryError } from "../source.ts";

import type { NacosServiceInfo } from "./convert.ts";
import { type HttpAnswer, type NacosHttp, wordsOf } from "./http.ts";
import type { NacosIdentity } from "./identity.ts";
import { PUBLIC_NAMESPACE } from "./settings.ts";

/** A service in Nacos' words, nothing empty. */
export interface NacosServiceName {
  readonly namespace: string;
  readonly group: string;
  readonly service: string;
  /** Empty: all. */
  readonly clusters: string;
}

/** Which of the HTTP APIs a server has; all have an end at some version. */
type Api = "v2" | "v1" | "v3";

/**
 * In this order: version 3 of the API comes last since it tells of one cluster of a service only, the one called DEFAULT unless clusters are
 * named, and Nacos 3 may be told to go on speaking the older ones.
 */
const apis: readonly Api[] = ["v2", "v1", "v3"];
const instancePaths: Record<Api, string> = {
  v2: "/v2/ns/instance/list",
  v1: "/v1/ns/instance/list",
  v3: "/v3/client/ns/instance/list",
};

/** Asks over HTTP for what newer servers push. It remembers which API the servers have. */
export class NacosPoll {
  readonly #http: NacosHttp;
  readonly #identity: NacosIdentity;
  #api: Api | undefined;

  constructor(http: NacosHttp, identity: NacosIdentity) {
    this.#http = http;
    this.#identity = identity;
  }

  /** A service's instances, now. @throws {DiscoveryError} */
  async instances(name: NacosServiceName, signal: AbortSignal): Promise<NacosServiceInfo> {
    for (const api of this.#api === undefined ? apis : [this.#api]) {
      const answer = await this.#get(instancePaths[api], queryOf(api, name), name, signal);
      // 404 and 501: a path that this server doesn't know; 410: one that it was told not to know any more.
      if (this.#api === undefined && [404, 410, 501].includes(answer.status) && api !== apis.at(-1)) continue;
      const info = infoOf(api, answer);
      this.#api = api;
      return info;
    }
    throw new DiscoveryError("bad_answer", "the server has no API to list instances with");
  }

  async #get(
    path: string,
    query: Record<string, string>,
    about: NacosServiceName,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    return await this.#identity.asking(async () => {
      const parameters = await this.#identity.parameters(about);
      const answer = await this.#http.ask({ method: "GET", path, query: { ...query, ...parameters }, signal });
      if (answer.status !== 403 && answer.status !== 401) return answer;
      throw new DiscoveryError("permission_denied", wordsOf(answer));
    });
  }
}

function queryOf(api: Api, { namespace, group, service, clusters }: NacosServiceName): Record<string, string> {
  // Version 1 writes the namespace that needs no name as nothing.
  const namespaceId = api === "v1" && namespace === PUBLIC_NAMESPACE ? "" : namespace;
  return {
    namespaceId,
    groupName: group,
    serviceName: api === "v1" ? `${group}@@${service}` : service,
    ...(api === "v3" ? { clusterName: clusters || "DEFAULT" } : {}),
  };
}

function infoOf(api: Api, answer: HttpAnswer): NacosServiceInfo {
  const fail = () => new DiscoveryError("bad_answer", wordsOf(answer));
  if (answer.status !== 200) throw answer.status >= 500 ? new DiscoveryError("unreachable", wordsOf(answer)) : fail();
  let body: unknown;
  try {
    body = JSON.parse(answer.text);
  } catch {
    throw fail();
  }
  if (typeof body !== "object" || body === null) throw fail();
  if (api === "v1") return body;
  const { code, data } = body as { code?: number; data?: unknown };
  if (code !== 0 || typeof data !== "object" || data === null) throw fail();
  return Array.isArray(data) ? { hosts: data as NacosServiceInfo["hosts"] } : data;
}
