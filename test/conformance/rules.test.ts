/**
 * Every rule of docs/xds-rules.md that concerns a server is held by a test of the server that names it. The others stand here with the reason, and
 * those that bind clients are held by tests of the proxy.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");

/** Rules that bind clients alone, and that tests of the proxy name. */
const ofClients: Readonly<Record<string, string>> = {
  S4: "what a client says between a response and its answer",
  T5: "how a client reconnects",
  W7: "how a client warms what it is sent",
  W8: "what a client asks for when it reconnects, and serves meanwhile",
};

/** Rules that bind no part of Sluice. */
const elsewhere: Readonly<Record<string, string>> = {
  H2: "what a TTL means where one is sent; Sluice sends none, which the test of H1 sees to: data planes keep their configuration for as long as there is no other (W8)",
  H3: "as H2: what has no TTL neither expires nor needs a heartbeat",
  X5: "options of gRPC's own bootstrap, which are for clients",
  X6: "binds clients; the proxy has one control plane address, and the disk besides (W8)",
  L5: "says what Envoy doesn't do; what Sluice does instead is L2",
  N1: "an option of Envoy's bootstrap; on our side names, streams and first syncs are limited instead (T7, D14 and misuse.test.ts)",
};

/** The rules, as the page has them. */
const ids = [...readFileSync(join(root, "docs/xds-rules.md"), "utf8").matchAll(/^\| ([A-Z]\d{1,2}) \|/gm)].map(
  ([, id = ""]) => id,
);

/** All rule ids in titles of these tests. */
function namedIn(...folders: string[]): Set<string> {
  const named = new Set<string>();
  for (const file of folders.flatMap((folder) => globSync(`${folder}/**/*.test.ts`, { cwd: root }))) {
    const text = readFileSync(join(root, file), "utf8");
    // The title is the first string of a call to test, or of what test.each returns.
    for (const [, title = ""] of text.matchAll(/(?:\btest\(|^\)\(|\]\)\(|\)\)\(|\)\()\s*"([^"]+)"/gm)) {
      for (const [id] of title.matchAll(/\b[TSDHWOXLN]\d{1,2}\b/g)) named.add(id);
    }
  }
  return named;
}

test("the page has each rule once, and so many of each letter", () => {
  expect(new Set(ids).size).toBe(ids.length);
  const counts = Object.groupBy(ids, ([letter = ""]) => letter);
  const sizes = Object.entries(counts).map(([letter, { length } = []]) => `${letter}${length}`);
  expect(sizes.join(" ")).toBe("T8 S18 D15 H3 W8 O5 X6 L5 N1");
});

test("every rule that concerns a server is named by a test of the server", () => {
  const named = namedIn("control-plane", "test");
  const due = ids.filter((id) => ofClients[id] === undefined && elsewhere[id] === undefined);
  expect(due.filter((id) => !named.has(id))).toEqual([]);
});

test("every rule that binds clients alone is named by a test of the proxy", () => {
  const named = namedIn("proxy");
  expect(Object.keys(ofClients).filter((id) => !named.has(id))).toEqual([]);
});

test("what has a reason is a rule of the page, and has no test", () => {
  const [ofServer, ofAll] = [namedIn("control-plane", "test"), namedIn("control-plane", "test", "proxy")];
  const needless = Object.keys(elsewhere).filter((id) => !ids.includes(id) || ofAll.has(id));
  const tested = Object.keys(ofClients).filter((id) => !ids.includes(id) || ofServer.has(id));
  expect([needless, tested]).toEqual([[], []]);
});
