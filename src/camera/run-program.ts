import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import { ChildProgram } from './child-program.ts';

export interface ProgramResult {
  /** Null when it was ended by a signal. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Null when there was more than the bound; the program was stopped then. */
  readonly stdout: Buffer | null;
  /** The last lines; may hold secrets. */
  readonly stderr: string;
}

/**
 * Runs a program to its end. Throws `camera_program_missing` when it cannot be started and the signal's reason when
 * that fires; either way nothing of it is left when the promise settles.
 */
export async function runProgram(
  options: { readonly program: string; readonly args: readonly string[]; readonly maxStdoutBytes: number },
  deps: { readonly clock: Clock },
  signal: AbortSignal,
): Promise<ProgramResult> {
  signal.throwIfAborted();
  const program = new ChildProgram(options, deps);
  const stop = (): void => void program.stop();
  signal.addEventListener('abort', stop, { once: true });
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  program.stdout.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes <= options.maxStdoutBytes) chunks.push(chunk);
    else {
      chunks.length = 0;
      stop();
    }
  });
  try {
    const exit = await program.exited;
    signal.throwIfAborted();
    if (exit.kind === 'not_started')
      throw new AgentError('camera_program_missing', `cannot start ${options.program}`, {
        context: { program: options.program, reason: exit.error.code },
      });
    return {
      code: exit.code,
      signal: exit.signal,
      stdout: sizeBytes > options.maxStdoutBytes ? null : Buffer.concat(chunks),
      stderr: program.stderrTail(),
    };
  } finally {
    signal.removeEventListener('abort', stop);
    await program.stop();
  }
}
