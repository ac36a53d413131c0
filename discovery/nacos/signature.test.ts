/** Signatures, held against openssl's HMAC rather than against ours. */
import { execFileSync } from "node:child_process";

import { expect, test } from "vitest";

import { signed } from "./signature.ts";

const NOW_MS = Date.UTC(2026, 10, 21, 23, 59, 59);
const orders = { group: "DEFAULT_GROUP", service: "orders" };

const hmac = (digest: string, hexKey: string, data: string): Buffer =>
  execFileSync("openssl", ["dgst", `-${digest}`, "-mac", "HMAC", "-macopt", `hexkey:${hexKey}`, "-binary"], {
    input: data,
  });
const hex = (text: string) => Buffer.from(text).toString("hex");

test("a request is signed with when and what, and the secret is nowhere in it", () => {
  const parameters = signed({ accessKey: "AK", secretKey: "s3cret" }, orders, NOW_MS);
  expect(parameters).toEqual({
    ak: "AK",
    data: `${NOW_MS}@@DEFAULT_GROUP@@orders`,
    signature: hmac("sha1", hex("s3cret"), `${NOW_MS}@@DEFAULT_GROUP@@orders`).toString("base64"),
  });
  expect(JSON.stringify(parameters)).not.toContain("s3cret");
});

test.each([
  [{ group: "g", service: "g@@orders" }, "@@g@@orders"],
  [{ group: "g", service: "" }, "@@g@@"],
  [{ group: "", service: "orders" }, "@@orders"],
  [{ group: "", service: "" }, ""],
])("of %j the data is the time and %j", (about, rest) => {
  expect(signed({ accessKey: "AK", secretKey: "s" }, about, NOW_MS)["data"]).toBe(`${NOW_MS}${rest}`);
});

test("with a region the key is derived for the day in UTC, the region and the product", () => {
  let key = hex("aliyun_v4s3cret");
  for (const part of ["20261121", "cn-hangzhou", "mse-nacos", "aliyun_v4_request"]) {
    key = hmac("sha256", key, part).toString("hex");
  }
  const secret = Buffer.from(key, "hex").toString("base64");
  expect(signed({ accessKey: "AK", secretKey: "s3cret", region: "cn-hangzhou" }, orders, NOW_MS)).toMatchObject({
    signatureVersion: "v4",
    signature: hmac("sha1", hex(secret), `${NOW_MS}@@DEFAULT_GROUP@@orders`).toString("base64"),
  });
});
