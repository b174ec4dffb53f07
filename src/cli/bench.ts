import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { childEnvironment } from '../base/child-environment.ts';
import { AgentError } from '../base/errors.ts';
import { BENCH_SCRIPT } from './installation.ts';
import { EXIT, type Terminal } from './terminal.ts';

export interface BenchOptions {
  /** Also write the table as JSON to this file. */
  readonly jsonFile?: string;
  /** Run one part only. */
  readonly only?: string;
}

/** `bench`: measures this machine, like `npm run bench`. An installed image does not have the benchmark. */
export async function runBench(options: BenchOptions, terminal: Terminal): Promise<number> {
  if (!existsSync(BENCH_SCRIPT))
    throw new AgentError('usage', 'the benchmark is not part of this installation');
  const args = [
    BENCH_SCRIPT,
    ...(options.jsonFile === undefined ? [] : ['--json', options.jsonFile]),
    ...(options.only === undefined ? [] : ['--only', options.only]),
  ];
  const child = spawn(process.execPath, args, {
    stdio: 'inherit',
    env: childEnvironment(terminal.env, 'vision'),
    signal: terminal.signal,
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? EXIT.failed));
  });
}
