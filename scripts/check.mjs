// Every check of the project, one after another; the last line counts them.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './setup.mjs';

const bin = (name) => [process.execPath, join(root, 'node_modules', ...name)];
const report = join(root, '.cache', 'vitest.json');

const steps = [
  ['format', [...bin(['prettier', 'bin', 'prettier.cjs']), '--check', '--log-level', 'warn', '.']],
  ['types', [...bin(['typescript', 'bin', 'tsc'])]],
  ['lint', [...bin(['eslint', 'bin', 'eslint.js']), '.', '--max-warnings', '0']],
  [
    'boundaries',
    [...bin(['dependency-cruiser', 'bin', 'dependency-cruiser.mjs']), 'src', '--output-type', 'err'],
  ],
  ['unused code', [...bin(['knip', 'bin', 'knip.js'])]],
  ['generated files', [process.execPath, join(root, 'scripts', 'generate.mjs'), '--check']],
];

const results = [];
for (const [name, [command, ...args]] of steps) {
  const started = performance.now();
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)\n`);
  results.push(status === 0);
}

mkdirSync(join(root, '.cache'), { recursive: true });
rmSync(report, { force: true });
const [node, vitest] = bin(['vitest', 'vitest.mjs']);
const tests = spawnSync(
  node,
  [vitest, 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
  {
    cwd: root,
    stdio: 'inherit',
  },
);

let passed = results.filter(Boolean).length;
let failed = results.length - passed;
const notRun = [];
if (existsSync(report)) {
  const { numPassedTests, numFailedTests, numTotalTests, testResults } = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  passed += numPassedTests;
  // A test that vitest left out for any reason is a check that did not hold.
  failed += numFailedTests;
  if (numFailedTests === 0 && tests.status !== 0) failed += 1;
  for (const file of testResults)
    for (const test of file.assertionResults)
      if (test.status !== 'passed' && test.status !== 'failed') notRun.push(test.fullName);
  if (numTotalTests === 0) failed += 1;
} else {
  failed += 1;
}
for (const name of notRun) process.stdout.write(`not run: ${name}\n`);
process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exit(failed === 0 ? 0 : 1);
