// `npm test`: every check of the project. `npm run check` (--quick): format, lint, types, boundaries, structure and
// unit tests. The last line counts what passed and failed. Arguments select test files: `npm test -- test/unit`.
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { findFailedFiles, judgeRuns, listSlowestFiles, readRun, type Run } from './outcome.ts';
import { nodeModule, ROOT, runProgram } from './run-program.ts';
import { runStaticChecks } from './static-checks.ts';

/** The command ends within this time, set-up included. */
const MAX_TOTAL_MS = 45 * 60_000;
/** Leaves time for second tries. */
const MAX_TESTS_MS = 38 * 60_000;
const MIN_SECOND_TRY_MS = 30_000;
/** With more failed files there is a fault, and no second try. */
const MAX_SECOND_TRIES = 6;

interface TestRun extends Run {
  readonly exitCode: number | null;
  readonly isTimedOut: boolean;
}

const startedMs = Number(process.env['CHECK_STARTED_MS'] ?? Date.now());
const remainingMs = (): number => startedMs + MAX_TOTAL_MS - Date.now();
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const cache = join(ROOT, '.cache');

const args = process.argv.slice(2);
const isQuick = args.includes('--quick');
const testArgs = isQuick ? ['test/unit'] : args;

/** Runs the named test files, or all of them, and reads the notes that scripts/check/reporter.ts writes. */
async function runTests(notesName: string, selected: readonly string[], timeoutMs: number): Promise<TestRun> {
  const notes = join(cache, notesName);
  rmSync(notes, { force: true });
  const reporters = ['--reporter=default', '--reporter=./scripts/check/reporter.ts'];
  const { exitCode, isTimedOut } = await runProgram(
    [...nodeModule('vitest', 'vitest.mjs'), 'run', ...reporters, ...selected],
    {
      timeoutMs,
      // Hundreds of processes load the same modules: they share the compiled code.
      env: { CHECK_NOTES: notes, NODE_COMPILE_CACHE: join(cache, 'compiled') },
    },
  );
  return { exitCode, isTimedOut, ...readRun(existsSync(notes) ? readFileSync(notes, 'utf8') : '') };
}

/** Resolves when set-up has installed the Debian packages; at once when set-up did not start this process. */
async function untilPackagesInstalled(): Promise<void> {
  if (process.send === undefined) return;
  await once(process, 'message');
  process.disconnect();
}

mkdirSync(cache, { recursive: true });
const packagesInstalled = untilPackagesInstalled();
const staticChecks = runStaticChecks(remainingMs, { isQuick, packagesInstalled });
await packagesInstalled;
const first = await runTests('tests.jsonl', testArgs, Math.min(MAX_TESTS_MS, remainingMs()));
const staticResults = await staticChecks;
if (first.isTimedOut) print('\nthe tests reached their time limit; unfinished files are listed below');

// Tests with real brokers, kills and deadlines can fail on a machine that is busy with other work. Run the few failed
// files a second time, alone and one after another, and print which of them passed only then.
const failedFiles = findFailedFiles(first);
let second: TestRun | null = null;
if (failedFiles.length > 0 && failedFiles.length <= MAX_SECOND_TRIES && remainingMs() > MIN_SECOND_TRY_MS) {
  print(`\nsecond try, one after another: ${failedFiles.join(', ')}\n`);
  second = await runTests('tests-again.jsonl', [...failedFiles, '--maxWorkers=1'], remainingMs());
}

const verdict = judgeRuns(first, second);
const passed = staticResults.filter(Boolean).length + verdict.passed;
let failed = staticResults.filter((isPassed) => !isPassed).length + verdict.failed;
for (const line of verdict.lines) print(line);
if (first.exitCode !== 0 && failedFiles.length === 0 && verdict.failed === 0) {
  print('failed: vitest exited with an error');
  failed += 1;
}
print(`\nthe slowest of ${first.files.length} test files:`);
for (const line of listSlowestFiles(first, 10)) print(line);
if (verdict.secondTryFiles.length > 0) {
  const { length } = verdict.secondTryFiles;
  print(
    `\n${length} test ${length === 1 ? 'file' : 'files'} passed only at the second try: ${verdict.secondTryFiles.join(', ')}`,
  );
}
print(`total time ${((Date.now() - startedMs) / 1000).toFixed(0)} s`);
print(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
