import { AgentError } from '../../base/errors.ts';
import type { InstallRecord } from '../types.ts';

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

/** What lives of an install only as long as the process: who waits for it, and who wants it ended. */
export class ActiveInstall {
  readonly updateId: string;
  readonly abort = new AbortController();
  /** The new model serves. */
  readonly serves: Deferred<InstallRecord> = deferred();
  /** The install has come to its end, good or bad. */
  readonly ended: Deferred<void> = deferred();

  constructor(updateId: string) {
    this.updateId = updateId;
  }

  /** The end was reached; null when it is good. */
  settle(failure: AgentError | null): void {
    this.serves.reject(failure ?? new AgentError('model_install_none', 'the install has ended'));
    this.ended.resolve();
  }

  /** The agent stops, and the install goes on at its next start. */
  drop(stopped: AgentError): void {
    this.serves.reject(stopped);
    this.ended.reject(stopped);
  }
}

/** Why an install ended badly; null for a good end. */
export function endOf({ phase, reason }: InstallRecord): AgentError | null {
  if (phase === 'committed') return null;
  return reason === null ? null : new AgentError(reason.code, reason.message);
}

/** Settled once; nobody has to wait for it. */
function deferred<T>(): Deferred<T> {
  let resolve: Deferred<T>['resolve'] = () => undefined;
  let reject: Deferred<T>['reject'] = () => undefined;
  const promise = new Promise<T>((good, bad) => {
    resolve = good;
    reject = bad;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
