import { Document, isMap, isScalar, isSeq, visit } from "yaml";

/** Longer collections are written with a line for each element. */
const FLOW_WIDTH_MAX = 100;

/** Lists in lists to this depth stay on one line (`vars`). */
const FLOW_DEPTH_MAX = 3;

/** Plain data as YAML that people read: short lists of scalars, and short mappings in a list, on one line. */
export function toYaml(plain: unknown): string {
  // One value that stands in two places is written twice: an anchor would puzzle the reader.
  const document = new Document(plain, { aliasDuplicateObjects: false });
  visit(document, {
    Scalar(at, node) {
      // Unquoted it would be a merge.
      if (at === "key" && node.value === "<<") node.type = "QUOTE_DOUBLE";
    },
    Collection(_, node, path) {
      const oneLine =
        isFlatList(node, 0) || (isMap(node) && isSeq(path.at(-1)) && node.items.every(({ value }) => isScalar(value)));
      if (!oneLine || JSON.stringify(node).length > FLOW_WIDTH_MAX) return undefined;
      node.flow = true;
      return visit.SKIP;
    },
  });
  return document.toString({ lineWidth: 0 });
}

const isFlatList = (node: unknown, depth: number): boolean =>
  isSeq(node) && depth < FLOW_DEPTH_MAX && node.items.every((item) => isScalar(item) || isFlatList(item, depth + 1));
