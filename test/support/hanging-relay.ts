import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A way to a database that can be made to hang: the connections that it has by then stay open, and nothing more goes through them. */
export async function relayTo(url: string) {
  const { hostname, port } = new URL(url);
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((socket) => {
    const onward = connect(Number(port), hostname);
    pairs.add([socket, onward]);
    for (const each of [socket, onward]) each.on("error", () => {});
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const own = new URL(url);
  own.port = String((server.address() as AddressInfo).port);
  return {
    url: own.href,
    hang() {
      for (const [socket, onward] of pairs) {
        socket.unpipe(onward).resume();
        onward.unpipe(socket).resume();
      }
    },
    close() {
      for (const each of [...pairs].flat()) each.destroy();
      server.close();
    },
  };
}
