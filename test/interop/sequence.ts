import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Puts last the tests of the server that is still being built on a fresh machine (prepare.ts). */
export class SlowestPeerLast extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const last = ({ moduleId }: TestSpecification) => Number(moduleId.includes("registries-kubernetes"));
    return sorted.toSorted((a, b) => last(a) - last(b));
  }
}
