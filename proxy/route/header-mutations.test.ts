/** Header mutations: what is refused, and the defaults; what they do is compared with Envoy in test/differential/headers.test.ts. */
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { HeaderValueOption_HeaderAppendAction as Action } from "#envoy/config/core/v3/base_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";

import type { Init } from "../../test/support/message-init.ts";
import { requestHead } from "../../test/support/request-head.ts";
import { StreamRecord } from "../filters/record.ts";
import { compileRouteConfiguration } from "./compile.ts";

const compile = (message: Init<typeof RouteConfigurationSchema>) =>
  compileRouteConfiguration(
    create(RouteConfigurationSchema, {
      virtualHosts: [
        {
          name: "host",
          domains: ["*"],
          routes: [
            {
              match: { pathSpecifier: { case: "prefix", value: "/" } },
              action: { case: "directResponse", value: { status: 200 } },
            },
          ],
        },
      ],
      ...message,
    }),
  );

const problemsOf = (message: Init<typeof RouteConfigurationSchema>) => {
  const compiled = compile(message);
  return compiled.ok ? [] : compiled.problems.map(({ field, message: text }) => `${field}: ${text}`);
};

const add = (key: string, value: string) => ({ header: { key, value } });

test.each([":path", "host", "Host", "content-length", "Transfer-Encoding", "connection", "upgrade", "a b", ""])(
  "%j can't be added or removed",
  (name) => {
    const place = "request_headers_to_add[0].header.key";
    expect(problemsOf({ requestHeadersToAdd: [add(name, "v")] })[0]).toMatch(
      new RegExp(`^${place.replace("[0]", "\\[0\\]")}: `),
    );
    expect(problemsOf({ responseHeadersToRemove: [name] })[0]).toMatch(/^response_headers_to_remove\[0\]: /);
  },
);

test("a value that could end its line is refused, and so is an operator that there is not", () => {
  expect(problemsOf({ requestHeadersToAdd: [add("x", "a\r\nb: c")] })).toEqual([
    "request_headers_to_add[0].header.value: has characters that a header value may not have",
  ]);
  expect(problemsOf({ requestHeadersToAdd: [add("x", "%NONE%")] })).toEqual([
    "request_headers_to_add[0].header: %NONE% is not supported",
  ]);
  expect(problemsOf({ requestHeadersToAdd: [add("x", "100%")] })).toHaveLength(1);
});

test("append goes with the default append_action only", () => {
  const option = { ...add("x", "v"), append: true };
  expect(problemsOf({ requestHeadersToAdd: [option] })).toEqual([]);
  expect(problemsOf({ requestHeadersToAdd: [{ ...option, appendAction: Action.ADD_IF_ABSENT }] })).toHaveLength(1);
});

test("what an operator yields can't end its line either", () => {
  const compiled = compile({ requestHeadersToAdd: [add("x-q", "%QUERY_PARAM(q)%"), add("x-kept", "1")] });
  if (!compiled.ok) throw new Error("refused");
  const head = requestHead({ path: "/?q=a%0d%0ab:%20c" });
  const record = new StreamRecord(
    { downstreamLocalAddress: "", downstreamRemoteAddress: "", downstreamRemotePort: 0 },
    performance.now(),
  );
  record.head = head;
  compiled.value.match(head)?.mutations.request?.(head.headers, record);
  expect(head.headers.get("x-q")).toBeUndefined();
  expect(head.headers.get("x-kept")).toBe("1");
});
