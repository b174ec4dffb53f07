import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const LONGEST = JSON.parse(
  readFileSync(join(import.meta.dirname, 'longest-test-files.json'), 'utf8'),
) as readonly string[];

/**
 * Starts the test files of longest-test-files.json first, in that order: otherwise the last of them would run alone at
 * the end. On a new machine vitest knows no times. `npm test` prints the slowest files.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification): number => {
      const index = LONGEST.indexOf(relative(project.config.root, moduleId));
      return index < 0 ? LONGEST.length : index;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}
