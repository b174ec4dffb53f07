// Every check of the project; the last line counts them. Arguments choose among the test files: `npm test -- test/unit`.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { failedFiles, judge, readRun, slowest } from './check/outcome.ts';
import { root } from './setup.mjs';

/** Machines that check for us stop after 20 minutes: whatever hangs, the count is told before that. */
const LIMIT_MS = { tests: 17 * 60_000, all: 18.5 * 60_000 };
/** More than so many files that fail are no accident. */
const SECOND_CHANCES = 6;

const startedMs = Date.now();
/** With the setup before it, where there was one. */
const begunMs = Number(process.env.CHECK_BEGUN_MS ?? startedMs);
const leftMs = () => begunMs + LIMIT_MS.all - Date.now();
const say = (line) => process.stdout.write(`${line}\n`);
const bin = (...name) => [process.execPath, join(root, 'node_modules', ...name)];

/** Runs a program to its end, or for so long. A group of its own dies with all that it started. */
function run([command, ...args], { withinMs, env = {}, quiet = false, isBehind = false }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      detached: true,
      env: { ...process.env, ...env },
      stdio: quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
    });
    if (isBehind && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
    const output = [];
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => output.push(bytes));
    let timedOut = false;
    const kill = () => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    };
    const timer = setTimeout(
      () => {
        timedOut = true;
        kill();
      },
      Math.max(1, withinMs),
    );
    const stop = (signal) => {
      kill();
      process.exit(signal === 'SIGINT' ? 130 : 143);
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.once(signal, stop);
    child.on('error', (error) => output.push(Buffer.from(`${error.message}\n`)));
    child.on('close', (status) => {
      clearTimeout(timer);
      for (const signal of signals) process.off(signal, stop);
      resolve({ status, timedOut, output: Buffer.concat(output).toString() });
    });
  });
}

/** Two rows of steps; lint alone takes as long as the others together. They have what the tests leave, which wait a lot. */
const rows = [
  [['lint', [...bin('eslint', 'bin', 'eslint.js'), '.', '--max-warnings', '0']]],
  [
    ['format', [...bin('prettier', 'bin', 'prettier.cjs'), '--check', '--log-level', 'warn', '.']],
    ['types', bin('typescript', 'bin', 'tsc')],
    [
      'boundaries',
      [...bin('dependency-cruiser', 'bin', 'dependency-cruiser.mjs'), 'src', '--output-type', 'err'],
    ],
    ['unused code', bin('knip', 'bin', 'knip.js')],
    ['generated files', [process.execPath, join(root, 'scripts', 'generate.mjs'), '--check']],
  ],
];

async function row(steps) {
  const results = [];
  for (const [name, command] of steps) {
    const fromMs = performance.now();
    const { status, output } = await run(command, { withinMs: leftMs(), quiet: true, isBehind: true });
    const seconds = ((performance.now() - fromMs) / 1000).toFixed(1);
    process.stdout.write(status === 0 ? '' : output);
    say(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
    results.push(status === 0);
  }
  return results;
}

/** Runs test files, all of them when none is named, and reads what became of them. */
async function test(notes, args, withinMs) {
  const path = join(root, '.cache', notes);
  rmSync(path, { force: true });
  const { status, timedOut } = await run(
    [
      ...bin('vitest', 'vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=./scripts/check/reporter.ts',
      ...args,
    ],
    // Hundreds of processes load the same modules: compiled once is enough.
    { withinMs, env: { CHECK_NOTES: path, NODE_COMPILE_CACHE: join(root, '.cache', 'compiled') } },
  );
  return { status, timedOut, ...readRun(existsSync(path) ? readFileSync(path, 'utf8') : '') };
}

const steps = Promise.all(rows.map(row));
mkdirSync(join(root, '.cache'), { recursive: true });
const first = await test('tests.jsonl', process.argv.slice(2), Math.min(LIMIT_MS.tests, leftMs()));
const results = (await steps).flat();
if (first.timedOut) say('\nthe tests took too long and were ended; what had not finished is named below');

// Real brokers, kills, clusters and deadlines on a machine that does other work besides earn a second chance: the few
// files that failed run once more, alone and one after another. What passes only then is named, and never silent.
const again = failedFiles(first);
let second = null;
if (again.length > 0 && again.length <= SECOND_CHANCES && leftMs() > 30_000) {
  say(`\nrun again, one after another: ${again.join(', ')}\n`);
  second = await test('tests-again.jsonl', [...again, '--maxWorkers=1'], leftMs());
}

const verdict = judge(first, second);
const passed = results.filter(Boolean).length + verdict.passed;
let failed = results.filter((ok) => !ok).length + verdict.failed;
for (const line of verdict.lines) say(line);
if (first.status !== 0 && again.length === 0 && verdict.failed === 0) {
  say('failed: vitest itself');
  failed += 1;
}
say(`\nthe slowest of ${first.files.length} test files:`);
for (const line of slowest(first, 10)) say(line);
say(`all of it took ${((Date.now() - startedMs) / 1000).toFixed(0)} s`);
say(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
