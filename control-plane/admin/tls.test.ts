/** Certificates that change while a port opens. */
import { readFileSync } from "node:fs";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { TestAuthority } from "../../test/support/certificates.ts";
import { waitFor } from "../../test/support/wait.ts";
import { readTls, watchTls } from "./tls.ts";

test("a certificate that is replaced between its first use and the watch is taken, and what stays as it was is not", async () => {
  const authority = new TestAuthority();
  const dir = await mkdtemp(join(tmpdir(), "sluice-tls-"));
  const files = { cert: join(dir, "tls.crt"), key: join(dir, "tls.key") };
  const put = async ({ cert, key }: { readonly cert: string; readonly key: string }) => {
    await writeFile(files.key, key);
    await writeFile(files.cert, cert);
  };
  await put(authority.issue({ name: "before" }));
  const before = readTls(files);
  await put(authority.issue({ name: "after" }));
  const after = readTls(files);
  const taken = new Set<string>();
  const take = (name: string) => () => {
    taken.add(`${name}: ${readFileSync(files.cert, "utf8") === after.cert ? "after" : "later"}`);
  };
  const stops = [watchTls(files, before, take("late")), watchTls(files, after, take("prompt"))];
  await waitFor("the one that was there before", () => taken.has("late: after"));

  await writeFile(`${files.cert}.new`, `${after.cert}\n`);
  await rename(`${files.cert}.new`, files.cert);
  await waitFor("the change", () => taken.has("late: later") && taken.has("prompt: later"));
  expect(taken.has("prompt: after")).toBe(false);
  for (const stop of stops) stop();
  await rm(dir, { recursive: true });
  authority[Symbol.dispose]();
});
