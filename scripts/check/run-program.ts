import { spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..', '..');

export interface ProgramOptions {
  /** After this time the program and all of its children are killed. */
  readonly timeoutMs: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Collect the output instead of printing it. */
  readonly isQuiet?: boolean;
  readonly hasLowPriority?: boolean;
}

export interface ProgramResult {
  readonly exitCode: number | null;
  readonly isTimedOut: boolean;
  /** Standard output and error in order of arrival; empty unless `isQuiet`. */
  readonly output: string;
}

/** The command line of a program of a development dependency, such as `nodeModule('eslint', 'bin', 'eslint.js')`. */
export const nodeModule = (...path: readonly string[]): readonly string[] => [
  process.execPath,
  join(ROOT, 'node_modules', ...path),
];

/** Runs a program in the project's root directory until it exits, or until its deadline. */
export function runProgram(
  [command = '', ...args]: readonly string[],
  { timeoutMs, env = {}, isQuiet = false, hasLowPriority = false }: ProgramOptions,
): Promise<ProgramResult> {
  return new Promise((resolve) => {
    // A process group: one kill reaches all children.
    const child = spawn(command, args, {
      cwd: ROOT,
      detached: true,
      env: { ...process.env, ...env },
      stdio: ['ignore', isQuiet ? 'pipe' : 'inherit', isQuiet ? 'pipe' : 'inherit'],
    });
    if (hasLowPriority && child.pid !== undefined)
      setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
    const chunks: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
    const killGroup = (): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // The group has exited already.
      }
    };
    let isTimedOut = false;
    const timer = setTimeout(
      () => {
        isTimedOut = true;
        killGroup();
      },
      Math.max(1, timeoutMs),
    );
    const exitOnSignal = (signal: NodeJS.Signals): void => {
      killGroup();
      // The handlers of the other programs come first.
      setImmediate(() => process.exit(signal === 'SIGINT' ? 130 : 143));
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
    for (const signal of signals) process.once(signal, exitOnSignal);
    child.on('error', (error) => chunks.push(Buffer.from(`${error.message}\n`)));
    child.on('close', (exitCode) => {
      clearTimeout(timer);
      for (const signal of signals) process.off(signal, exitOnSignal);
      resolve({ exitCode, isTimedOut, output: Buffer.concat(chunks).toString() });
    });
  });
}
