import { createServer } from "node:net";

/**
 * Tries whether an address can be listened on, by doing so for a moment. Undefined: it can; else why not, in the operating system's words.
 *
 * Workers share ports by SO_REUSEPORT, and the kernel would share a port just as gladly with a stranger of the same user, who then
 * answers a part of the requests. The probe doesn't set the option, so it fails if anyone holds the address.
 */
export async function probeBind(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      // Exclusive: not through a cluster module's parent.
      server.listen({ host, port, exclusive: true }, resolve);
    });
    await new Promise((resolve) => server.close(resolve));
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EADDRINUSE") return `Address already in use (EADDRINUSE)`;
    return code === undefined ? message : `${message} (${code})`;
  }
}
