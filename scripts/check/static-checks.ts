import { join } from 'node:path';
import { nodeModule, ROOT, runProgram } from './run-program.ts';

interface StaticCheck {
  readonly name: string;
  readonly command: readonly string[];
  /** Waits for the Debian packages. */
  readonly needsPackages?: boolean;
}

const lint: StaticCheck = {
  name: 'lint',
  // No cache: rules with types also depend on files other than the one they check.
  command: [...nodeModule('eslint', 'bin', 'eslint.js'), '.', '--max-warnings', '0'],
};
/** The shebang can also be part of a text in TypeScript and Markdown. */
const SHELL_FILES = "':!*.ts' ':!*.mjs' ':!*.md' ':!*.py'";
const prettierCache = ['--cache', '--cache-strategy', 'content', '--cache-location', '.cache/prettier.json'];
const fast: readonly StaticCheck[] = [
  {
    name: 'format',
    command: [
      ...nodeModule('prettier', 'bin', 'prettier.cjs'),
      ...['--check', '--log-level', 'warn', ...prettierCache, '.'],
    ],
  },
  {
    name: 'types',
    command: [
      ...nodeModule('typescript', 'bin', 'tsc'),
      ...['--incremental', '--tsBuildInfoFile', '.cache/types.tsbuildinfo'],
    ],
  },
  {
    name: 'types of the pages',
    command: [
      ...nodeModule('typescript', 'bin', 'tsc'),
      ...['-p', 'src/web', '--incremental', '--tsBuildInfoFile', '.cache/types-web.tsbuildinfo'],
    ],
  },
  {
    name: 'boundaries',
    command: [
      ...nodeModule('dependency-cruiser', 'bin', 'dependency-cruiser.mjs'),
      ...['src', '--output-type', 'err'],
    ],
  },
  { name: 'structure', command: [process.execPath, join('scripts', 'check', 'structure-main.ts')] },
];
/** Their output is also of use when they pass. */
const REPORTS = new Set(['structure', 'vulnerabilities']);
const slow: readonly StaticCheck[] = [
  { name: 'unused code', command: nodeModule('knip', 'bin', 'knip.js') },
  { name: 'generated files', command: [process.execPath, join(ROOT, 'scripts', 'generate.mjs'), '--check'] },
  { name: 'vulnerabilities', command: [process.execPath, join('scripts', 'check', 'vulnerabilities.ts')] },
  {
    name: 'shell scripts',
    needsPackages: true,
    command: [
      'sh',
      '-c',
      `git grep -zlE '^#!(/usr)?/bin/(env )?(ba)?sh' -- ${SHELL_FILES} | xargs -0 shellcheck`,
    ],
  },
];

/**
 * Runs the checks that need no tests, at low priority: lint, which takes as long as all others together, in parallel
 * with the others. Prints one line for each, and the output of those that fail. Resolves with one boolean for each.
 */
export async function runStaticChecks(
  remainingMs: () => number,
  { isQuick, packagesInstalled }: { readonly isQuick: boolean; readonly packagesInstalled: Promise<void> },
): Promise<readonly boolean[]> {
  const lanes = [[lint], isQuick ? fast : [...fast, ...slow]];
  const results = await Promise.all(
    lanes.map(async (checks) => {
      const passed: boolean[] = [];
      for (const check of checks) {
        if (check.needsPackages === true) await packagesInstalled;
        passed.push(await runStaticCheck(check, remainingMs()));
      }
      return passed;
    }),
  );
  return results.flat();
}

async function runStaticCheck({ name, command }: StaticCheck, timeoutMs: number): Promise<boolean> {
  const startedMs = performance.now();
  const { exitCode, output } = await runProgram(command, { timeoutMs, isQuiet: true, hasLowPriority: true });
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const isPassed = exitCode === 0;
  if (!isPassed || REPORTS.has(name)) process.stdout.write(output);
  process.stdout.write(`${isPassed ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)\n`);
  return isPassed;
}
