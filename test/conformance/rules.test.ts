/** Every rule of the protocol page (shared/reference/xds-protocol.md, part 1) is held by a test that names it, or stands here with the reason. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");

/** How many rules each letter of the page has. */
const letters = { T: 8, S: 18, D: 15, H: 3, W: 8, O: 5, X: 6, L: 5, N: 1 } as const;

/** Rules that no test names. */
const elsewhere: Readonly<Record<string, string>> = {
  S4: "binds clients of the state-of-the-world protocol; the proxy speaks delta, and reads a response only once it has answered the last",
  H2: "Sluice sends no TTLs (H1): its data planes keep their configuration for as long as there is no other (W8)",
  H3: "as H2",
  X5: "options of gRPC's own bootstrap, which are for clients",
  X6: "binds clients; the proxy has one control plane address, and the disk besides (W8)",
  L5: "says what Envoy doesn't do",
  N1: "binds Envoy; on our side names, streams and first syncs are limited instead",
};

const ids = Object.entries(letters).flatMap(([letter, count]) =>
  Array.from({ length: count }, (_, at) => `${letter}${at + 1}`),
);

/** All rule ids in titles of tests. */
function namedInTests(): Set<string> {
  const named = new Set<string>();
  for (const file of globSync("{control-plane,proxy,test}/**/*.test.ts", { cwd: root })) {
    const text = readFileSync(join(root, file), "utf8");
    // The title is the first string of a call to test, or of what test.each returns.
    for (const [, title = ""] of text.matchAll(/(?:\btest\(|^\)\(|\]\)\(|\)\)\(|\)\()\s*"([^"]+)"/gm)) {
      for (const [id] of title.matchAll(/\b[TSDHWOXLN]\d{1,2}\b/g)) named.add(id);
    }
  }
  return named;
}

test("every rule has a test or a reason", () => {
  const named = namedInTests();
  expect(ids.filter((id) => !named.has(id) && elsewhere[id] === undefined)).toEqual([]);
});

test("what has a reason is a rule of the page, and has no test", () => {
  const named = namedInTests();
  const needless = Object.keys(elsewhere).filter((id) => !ids.includes(id) || named.has(id));
  expect(needless).toEqual([]);
});
