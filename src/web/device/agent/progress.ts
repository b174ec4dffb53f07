/** What an install of a model and an update of the agent have in common. */
export interface Transfer {
  readonly update_id: string;
  readonly phase: string;
  readonly bytes: number;
  readonly total_bytes: number | null;
  readonly percent: number | null;
}

/**
 * The state of a transfer with a newer progress message of the event stream. Messages of another transfer, of an earlier
 * phase than that of the state, and malformed ones are ignored: they arrive in any order. `phases`: in order of time.
 */
export function withProgress<T extends Transfer>(
  transfer: T,
  progress: unknown,
  phases: readonly string[],
): T {
  if (typeof progress !== 'object' || progress === null) return transfer;
  const { update_id: id, phase, bytes, total_bytes: total, percent } = progress as Partial<Transfer>;
  if (id !== transfer.update_id || typeof phase !== 'string' || typeof bytes !== 'number') return transfer;
  if (!phases.includes(phase) || phases.indexOf(phase) < phases.indexOf(transfer.phase)) return transfer;
  return {
    ...transfer,
    phase,
    bytes,
    total_bytes: typeof total === 'number' ? total : null,
    percent: typeof percent === 'number' ? percent : null,
  };
}

export type StepState = 'done' | 'now' | 'ahead' | 'failed';

/**
 * Each step of the way to the end with its state. A failed transfer has the state `failed` at the end; the steps before are
 * those that are certainly done: the state of the agent does not say in which phase it failed.
 */
export function stepsOf(
  phase: string,
  way: readonly string[],
): readonly { readonly phase: string; readonly state: StepState }[] {
  const at = way.indexOf(phase);
  const last = way.length - 1;
  if (at === -1) return [{ phase, state: 'failed' }];
  return way.map((one, index) => ({
    phase: one,
    state: index < at || at === last ? 'done' : index === at ? 'now' : 'ahead',
  }));
}
