/** Why the control plane can't start as it was told to; the message says what to change, and holds no secret. */
export class StartError extends Error {
  override readonly name = "StartError";
}
