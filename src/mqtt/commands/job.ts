import type { CommandName, CommandReceipt, CommandResult } from '../../contract/command.ts';
import { AgentError } from '../../base/errors.ts';
import type { Answer } from './answers.ts';
import type { CommandTimes } from './time.ts';

/** A command that is queued or under way. */
export interface Job {
  readonly id: string;
  readonly name: CommandName;
  readonly times: CommandTimes;
  readonly run: (signal: AbortSignal) => unknown;
  readonly receivedMonoMs: number;
  /** The first is who sent it; others sent it again while it ran. */
  readonly askers: Answer[];
  /** What begins when it has been answered. */
  readonly after: (() => void)[];
}

/** A command of an earlier run of the agent that goes on in this one. */
export interface Resumed {
  readonly id: string;
  readonly name: CommandName;
  readonly receivedAtMs: number;
  /** Its result, or its failure. */
  readonly running: Promise<unknown>;
}

export const receipt = (id: string | null): CommandReceipt => ({ id, status: 'accepted', reason: null });

export function wireError(error: AgentError): NonNullable<CommandResult['error']> {
  // What was not foreseen may carry paths and internals; the log has it.
  const message = error.code === 'internal' ? 'something unforeseen went wrong' : error.message;
  return { code: error.code, message, hint: error.hint };
}

/** The result, or a failure in its place when the link would not take it. */
export function fitting(
  result: CommandResult,
  askers: readonly Answer[],
  maxPayloadBytes: number,
): CommandResult {
  const correlationBytes = Math.max(...askers.map((asker) => asker.correlationData?.length ?? 0));
  const sizeBytes = Buffer.byteLength(JSON.stringify(result)) + correlationBytes;
  if (sizeBytes <= maxPayloadBytes) return result;
  const { id, duration_ms } = result;
  const error = wireError(new AgentError('mqtt_too_large', `the answer has ${sizeBytes} bytes`));
  return { id, status: 'failed', error, duration_ms };
}

/** Rejects when the signal aborts. */
export function late(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
