let second = 0;
let text = "";

/** Now, as the date field of a response wants it (RFC 9110, 5.6.7); made anew once a second. */
export function dateNow(): string {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    second = now;
    text = new Date(now * 1000).toUTCString();
  }
  return text;
}
