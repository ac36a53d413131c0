import { expect, test } from "vitest";

import { formatStringProblem } from "./format-string.ts";

test.each([
  "",
  "100%% of %RESPONSE_CODE%",
  "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH):80% %RESP(x-a)% %TRAILER(grpc-status):2%",
  "%ENVIRONMENT(HOME):10%",
  "%START_TIME% %START_TIME(%s.%3f)% %START_TIME(%Y-%m-%dT%H:%M:%E3S%z)%%% %START_TIME(on %F)%",
  "%GRPC_STATUS% %GRPC_STATUS(NUMBER)%",
])("%j is a format of both data planes", (text) => {
  expect(formatStringProblem(text)).toBeUndefined();
});

test.each([
  ["50%", "%"],
  ["%NONE%", "%NONE%"],
  ["a %req(x)% b", "%req(x)%"],
  ["%REQ%", "%REQ%"],
  ["%REQ()%", "%REQ()%"],
  ["%REQ(a?b?c)%", "%REQ(a?b?c)%"],
  ["%PROTOCOL(a)%", "%PROTOCOL(a)%"],
  // Envoy takes a length behind some operators only, and refuses the listener for any other.
  ["%RESPONSE_CODE:2%", "%RESPONSE_CODE:2%"],
  ["%UPSTREAM_HOST:9%", "%UPSTREAM_HOST:9%"],
  ["%START_TIME(%s):9%", "%START_TIME(%s):9%"],
  ["%START_TIME(%Y %Q)%", "%START_TIME(%Y %Q)%"],
  ["%GRPC_STATUS(TEXT)%", "%GRPC_STATUS(TEXT)%"],
])("%j is none: %s", (text, wrong) => {
  expect(formatStringProblem(text)).toContain(JSON.stringify(wrong));
});
