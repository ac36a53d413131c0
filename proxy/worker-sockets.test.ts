import fc from "fast-check";
import { expect, test } from "vitest";

import { shareOf } from "./worker-sockets.ts";

const http = (fd: number) => ({ address: "127.0.0.1", port: 80, fd });
const https = (fd: number) => ({ address: "127.0.0.1", port: 443, fd });

test("each worker gets a socket of each address, in whatever order the workers before told of theirs", () => {
  const sockets = [http(5), https(6), http(7), https(8)];
  expect(shareOf(sockets, 0, 2)).toEqual([http(5), https(6)]);
  expect(shareOf(sockets, 1, 2)).toEqual([http(7), https(8)]);
});

test("fewer workers than before share all sockets; of more than before the last ones get none", () => {
  const sockets = [http(5), http(6), http(7)];
  expect([0, 1].map((worker) => shareOf(sockets, worker, 2))).toEqual([[http(5), http(7)], [http(6)]]);
  expect([0, 3].map((worker) => shareOf(sockets, worker, 4))).toEqual([[http(5)], []]);
});

test("each socket falls to exactly one worker, and those of an address evenly", () => {
  const kinds = fc.array(fc.boolean(), { maxLength: 20 });
  fc.assert(
    fc.property(kinds, fc.integer({ min: 1, max: 6 }), (secure, count) => {
      const sockets = secure.map((one, fd) => (one ? https(fd) : http(fd)));
      const shares = Array.from({ length: count }, (_, worker) => shareOf(sockets, worker, count));
      expect(
        shares
          .flat()
          .map(({ fd }) => fd)
          .toSorted((a, b) => a - b),
      ).toEqual(sockets.map(({ fd }) => fd));
      const ofHttp = shares.map((share) => share.filter(({ port }) => port === 80).length);
      expect(Math.max(...ofHttp) - Math.min(...ofHttp)).toBeLessThanOrEqual(1);
    }),
  );
});
