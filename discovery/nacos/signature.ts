import { createHmac } from "node:crypto";

/** An access key and its secret, as Nacos' RAM plug-ins and Alibaba's MSE take them. */
export interface NacosKeys {
  readonly accessKey: string;
  readonly secretKey: string;
  /** With a region, the secret is derived for it and for the day (signature version 4). */
  readonly region?: string | undefined;
}

/** What a request is about. */
export interface NacosResource {
  readonly group: string;
  /** May have its group before it already. Empty for a request about all services of the group. */
  readonly service: string;
}

// Of Nacos' own clients (client.auth.ram): the last two parts of a key's derivation, and the name before the secret.
const V4_PREFIX = "aliyun_v4";
const V4_PRODUCT = "mse-nacos";
const V4_END = "aliyun_v4_request";

/**
 * What a signed request carries, as a query over HTTP and as headers of the payload over gRPC: `data` says when it was signed and for which
 * service, `signature` is the base64 of its HMAC-SHA1, `ak` names the key. The secret itself never travels.
 */
export function signed(keys: NacosKeys, { group, service }: NacosResource, nowMs: number): Record<string, string> {
  const { accessKey, region = "" } = keys;
  const name = service.includes("@@") || group === "" ? service : `${group}@@${service}`;
  const data = name === "" ? String(nowMs) : `${nowMs}@@${name}`;
  const secret = region === "" ? keys.secretKey : derivedKey(keys.secretKey, region, nowMs);
  return {
    ...{ data, ak: accessKey, signature: createHmac("sha1", secret).update(data).digest("base64") },
    ...(region !== "" && { signatureVersion: "v4" }),
  };
}

/** The key of a day (UTC) in a region. */
function derivedKey(secretKey: string, region: string, nowMs: number): string {
  const day = new Date(nowMs).toISOString().slice(0, 10).replaceAll("-", "");
  let key: Buffer | string = V4_PREFIX + secretKey;
  for (const part of [day, region, V4_PRODUCT, V4_END]) key = createHmac("sha256", key).update(part).digest();
  return Buffer.from(key).toString("base64");
}
