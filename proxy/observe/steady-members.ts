import { flat } from "../headers.ts";
import type { RequestRecord } from "./access-log.ts";
import type { Operator } from "./operators.ts";

/** What stands before the next member of a JSON object: nothing, a value, or a string whose quote the next piece closes. */
export const NOTHING = 0;
export const VALUE = 1;
export const STRING = 2;
export type After = typeof NOTHING | typeof VALUE | typeof STRING;

/** Members in a line: their text, and what the next one stands after. */
export interface Rendered {
  readonly text: string;
  readonly after: After;
}

/** Makes the text of members that stand after `after`. */
export type Render = (record: RequestRecord, after: After) => Rendered;

/** Values in the tree at most; then it is begun anew. */
const BRANCHES_MAX = 20_000;

interface Branch {
  readonly byValue: Map<string | number | undefined, Branch>;
  rendered: Rendered | undefined;
}

const branch = (): Branch => ({ byValue: new Map(), rendered: undefined });

// flat() is for bytes; the few texts with other characters stay as they were joined.
const BYTES = /^[\0-\xff]*$/;

/**
 * Members that stand side by side in a log line and of whose values there are few combinations, such as an endpoint, its cluster and a route. The
 * text of each combination is made once: a line then has one piece in place of two for each member, and nobody looks for what must be escaped.
 * `render` makes it from nothing but what the operators yield.
 */
export function steadyMembers(operators: readonly Operator[], render: Render): Render {
  let roots = [branch(), branch(), branch()] as const;
  let branches = 0;
  return (record, after) => {
    if (branches > BRANCHES_MAX) {
      roots = [branch(), branch(), branch()];
      branches = 0;
    }
    let at: Branch = roots[after];
    for (const operator of operators) {
      const value = operator(record);
      let next = at.byValue.get(value);
      if (next === undefined) {
        next = branch();
        branches++;
        at.byValue.set(value, next);
      }
      at = next;
    }
    return (at.rendered ??= inOnePiece(render(record, after)));
  };
}

const inOnePiece = ({ text, after }: Rendered): Rendered => ({ text: BYTES.test(text) ? flat(text) : text, after });
