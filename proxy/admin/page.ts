/** What a page answers. */
export interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** A page of lines for people. */
export const text = (body: string, status = 200): Page => ({
  status,
  contentType: "text/plain; charset=UTF-8",
  body: body.endsWith("\n") ? body : `${body}\n`,
});

/** A page for programs. */
export const json = (value: unknown): Page => ({
  status: 200,
  contentType: "application/json",
  body: `${JSON.stringify(value, undefined, 1)}\n`,
});

/** Envoy's `format` parameter: "text" unless said; undefined if it is none of those that the page has. */
export function format<const Format extends string>(
  query: URLSearchParams,
  formats: readonly Format[],
): Format | undefined {
  const asked = query.get("format") ?? formats[0];
  return formats.find((one) => one === asked);
}

/** The answer to a format that a page doesn't have. */
export const noSuchFormat = (formats: readonly string[]): Page =>
  text(`format must be one of: ${formats.join(", ")}`, 400);
