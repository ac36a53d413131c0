import { styleText } from "node:util";

/** How a text stands out. */
export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** Styles a text, or leaves it as it is where there are no colours. */
export type Paint = (style: Style, text: string) => string;

/** Where a command writes; colours only where a person looks at them. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Styles text for standard output. */
  readonly style: Paint;
  /** Styles text for standard error. */
  readonly styleError: Paint;
  /** Whether standard output is a terminal. */
  readonly interactive: boolean;
}

/** The process's own terminal. NO_COLOR (no-color.org) turns colours off; FORCE_COLOR turns them on in a pipe. */
export function processTerminal(): Terminal {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  const colored = (stream: NodeJS.WriteStream) => {
    if (NO_COLOR !== undefined && NO_COLOR !== "") return false;
    if (FORCE_COLOR !== undefined && FORCE_COLOR !== "" && FORCE_COLOR !== "0") return true;
    return stream.isTTY && TERM !== "dumb";
  };
  const [outColored, errColored] = [colored(process.stdout), colored(process.stderr)];
  const paint = (style: Style, text: string) => styleText(style, text, { validateStream: false });
  return {
    out: (text) => void process.stdout.write(`${text}\n`),
    err: (text) => void process.stderr.write(`${text}\n`),
    style: (style, text) => (outColored ? paint(style, text) : text),
    styleError: (style, text) => (errColored ? paint(style, text) : text),
    interactive: process.stdout.isTTY === true,
  };
}

/** Text from elsewhere (names, refusals of data planes) with control characters made visible, so that it can't drive the terminal. */
export const printable = (text: string): string =>
  text.replace(/\p{Cc}/gu, (char) =>
    char === "\t" || char === "\n" ? char : `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
