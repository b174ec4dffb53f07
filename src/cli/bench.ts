import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AgentError } from '../base/errors.ts';
import { EXIT, type Terminal } from './terminal.ts';

export interface BenchOptions {
  /** Also write the table as JSON there. */
  readonly jsonFile?: string;
  /** One part alone; all of them without it. */
  readonly only?: string;
}

/** Measures this machine as `npm run bench` does; the program comes with the checkout, not with an installed image. */
export async function bench(options: BenchOptions, terminal: Terminal): Promise<number> {
  const script = fileURLToPath(new URL('../../scripts/bench/main.ts', import.meta.url));
  if (!existsSync(script)) throw new AgentError('usage', 'the benchmark is not part of this installation');
  const args = [
    script,
    ...(options.jsonFile === undefined ? [] : ['--json', options.jsonFile]),
    ...(options.only === undefined ? [] : ['--only', options.only]),
  ];
  const child = spawn(process.execPath, args, { stdio: 'inherit', signal: terminal.signal });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? EXIT.failed));
  });
}
