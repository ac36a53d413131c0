import { confined } from "../model/confine.ts";
import { literalPattern } from "../model/regex.ts";
import type { Test } from "../model/vars-operator.ts";

/**
 * A regular expression for all values that pass a test, each as a whole; other text may stand before and after it.
 * Values inside a longer text hold no character of `outside`.
 */
export function valuePattern(test: Test, outside = ""): string {
  switch (test.kind) {
    case "oneOf": {
      const values = test.values.map(literalPattern);
      return values.length === 1 ? values.join("") : `(?:${values.join("|")})`;
    }
    case "pattern": {
      const flags = test.ignoreCase ? "i" : "";
      // Operators' patterns match anywhere in the value, Envoy's the whole of it.
      if (outside === "") return `.*(?${flags}:${test.pattern}).*`;
      const inside = confined(test.pattern, outside);
      if (!inside.ok) throw new Error(`a stored pattern is not valid: ${test.pattern}`);
      return test.ignoreCase ? `(?i:${inside.value})` : inside.value;
    }
    case "present":
    case "range":
      throw new Error(`a ${test.kind} test has no pattern`);
  }
}
