import { AgentError } from '../../base/errors.ts';

/** Why one attempt at a transfer failed. Faults that may pass are tried again; the others are told as they are. */
export class TransferFault extends Error {
  override readonly name: string = 'TransferFault';
  /** Null: not worth another attempt. */
  readonly again: { readonly afterMs: number } | null;

  constructor(message: string, again: { readonly afterMs: number } | null, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.again = again;
  }
}

/** More bytes than were announced or are allowed. */
export class Excess extends TransferFault {
  override readonly name = 'Excess';

  constructor() {
    super('more bytes than announced', { afterMs: 0 });
  }
}

export const passing = (message: string, cause?: unknown): TransferFault =>
  new TransferFault(message, { afterMs: 0 }, cause);

/** The same thing has other bytes than before, or than were signed for; what is there was thrown away. */
export const changed = (message: string): AgentError => new AgentError('model_transfer_changed', message);

export const failed = (message: string, cause?: unknown): AgentError =>
  new AgentError('model_transfer_failed', message, { cause });
