import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';
import type { Note } from './outcome.ts';

/** Appends the outcome of each test file to a file when it is known, so that a run that is killed leaves its results. */
export default class NotingReporter implements Reporter {
  readonly #notesFile = process.env['CHECK_NOTES'] ?? '';
  readonly #startedMs = new Map<string, number>();

  onTestRunStart(specifications: readonly { readonly moduleId: string }[]): void {
    this.#append({ kind: 'planned', files: specifications.map(({ moduleId }) => relativePath(moduleId)) });
  }

  onTestModuleQueued({ moduleId }: TestModule): void {
    this.#startedMs.set(moduleId, performance.now());
    this.#append({ kind: 'started', file: relativePath(moduleId) });
  }

  onTestModuleEnd(module: TestModule): void {
    const errors = [module, ...module.children.allSuites()].flatMap((suite) =>
      suite.errors().map(({ message }) => message),
    );
    this.#append({
      kind: 'ended',
      file: relativePath(module.moduleId),
      durationS: (performance.now() - (this.#startedMs.get(module.moduleId) ?? performance.now())) / 1000,
      tests: [...module.children.allTests()].map((test) => {
        const { state } = test.result();
        return { name: test.fullName, state: state === 'pending' ? 'skipped' : state };
      }),
      errors,
    });
  }

  onTestRunEnd(
    _modules: readonly TestModule[],
    errors: readonly { readonly message: string; readonly [key: string]: unknown }[],
  ): void {
    const unhandled = errors.map((error) => {
      const path = error['VITEST_TEST_PATH'];
      return { file: typeof path === 'string' ? relativePath(path) : null, message: error.message };
    });
    this.#append({ kind: 'complete', unhandled });
  }

  #append(note: Note): void {
    appendFileSync(this.#notesFile, `${JSON.stringify(note)}\n`);
  }
}

const relativePath = (moduleId: string): string => relative(process.cwd(), moduleId);
