import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';
import type { Note } from './outcome.ts';

/** Writes down what becomes of each test file as it happens, so that a run that is cut short has told what it knew. */
export default class NotingReporter implements Reporter {
  readonly #out = process.env['CHECK_NOTES'] ?? '';
  readonly #startedMs = new Map<string, number>();

  onTestRunStart(specifications: readonly { readonly moduleId: string }[]): void {
    this.#note({ kind: 'planned', files: specifications.map(({ moduleId }) => nameOf(moduleId)) });
  }

  onTestModuleQueued({ moduleId }: TestModule): void {
    this.#startedMs.set(moduleId, performance.now());
    this.#note({ kind: 'started', file: nameOf(moduleId) });
  }

  onTestModuleEnd(module: TestModule): void {
    const errors = [module, ...module.children.allSuites()].flatMap((suite) =>
      suite.errors().map(({ message }) => message),
    );
    this.#note({
      kind: 'ended',
      file: nameOf(module.moduleId),
      seconds: (performance.now() - (this.#startedMs.get(module.moduleId) ?? performance.now())) / 1000,
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
      return { file: typeof path === 'string' ? nameOf(path) : null, message: error.message };
    });
    this.#note({ kind: 'over', unhandled });
  }

  #note(note: Note): void {
    appendFileSync(this.#out, `${JSON.stringify(note)}\n`);
  }
}

const nameOf = (moduleId: string): string => relative(process.cwd(), moduleId);
