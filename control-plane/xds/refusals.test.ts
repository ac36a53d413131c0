import { expect, test } from "vitest";

import { refusalsIn } from "./refusals.ts";

const names = (...all: string[]) => new Set(all);

test.each([
  [
    "Sluice's proxy names each resource",
    "CDS: 2 resources refused: pay/default: lb_policy: no | orders/blue: eds_cluster_config.service_name: no; type: no",
    { "pay/default": "lb_policy: no", "orders/blue": "eds_cluster_config.service_name: no; type: no" },
  ],
  [
    "Envoy names each cluster",
    "Error adding/updating cluster(s) pay/default: bad thing, orders/blue: other thing",
    { "pay/default": "bad thing", "orders/blue": "other thing" },
  ],
  [
    "Envoy names each listener on a line",
    "Error adding/updating listener(s) pay/default: can't bind\norders/blue: duplicate\n",
    { "pay/default": "can't bind", "orders/blue": "duplicate" },
  ],
  ["one of several is named", "Error adding/updating cluster(s) pay/default: bad", { "pay/default": "bad" }],
  ["none is named", "Protobuf message has unknown fields", {}],
  ["a name inside another word is none", "see xpay/default: or pay/default", {}],
])("%s", (_, text, reasons) => {
  expect(Object.fromEntries(refusalsIn(text, names("pay/default", "orders/blue", "third/one")))).toEqual(reasons);
});

test("the only resource of a response is what a refusal is about", () => {
  const refusal = "RDS: 1 resource refused: default: virtual_hosts[0].name: too long";
  expect(refusalsIn(refusal, names("default"))).toEqual(new Map([["default", "virtual_hosts[0].name: too long"]]));
  const sentence = "Only unique values for domains are permitted. Duplicate entry of domain a.example";
  expect(refusalsIn(sentence, names("default"))).toEqual(new Map([["default", sentence]]));
});
