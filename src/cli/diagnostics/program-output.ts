import { systemClock } from '../../base/clock.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import { runProgram } from '../../camera/child-program.ts';

const TIMEOUT_MS = 15_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/** Runs one program. Resolves with its standard output; rejects with the reason when it cannot start or fails. */
export type RunTool = (program: string, ...args: readonly string[]) => Promise<string>;

export const createRunTool =
  (signal: AbortSignal): RunTool =>
  async (program, ...args) => {
    const { code, stdout, stderr } = await runProgram(
      { program, args, maxStdoutBytes: MAX_OUTPUT_BYTES },
      { clock: systemClock },
      deadlineSignal(TIMEOUT_MS, signal),
    );
    if (stdout === null) throw new Error(`${program} wrote more than ${String(MAX_OUTPUT_BYTES)} bytes`);
    const hint = stderr.trim().split('\n').at(-1) ?? '';
    if (code !== 0)
      throw new Error(`${program} failed${code === null ? '' : ` with ${String(code)}`}: ${hint}`);
    // journalctl exits with 0 when the user may not see a journal.
    const output = stdout.toString();
    if (output.trim() === '') throw new Error(`${program} printed nothing${hint === '' ? '' : `: ${hint}`}`);
    return output;
  };
