import type { DeviceMessages } from './device-messages.ts';

export interface DeviceProgress {
  readonly phase: 'waiting' | 'sent' | 'installing' | 'probation' | 'committed' | 'failed';
  /** The phase of the install as the device reports it, or the error code of a failure. */
  readonly detail: string | null;
  /** Message of a failure. */
  readonly message: string | null;
  readonly percent: number | null;
  /** The result of a command. */
  readonly result?: unknown;
}

/** A message of a device about its install or command. `isOld`: the outcome of an earlier run. */
export type DeviceReport =
  | { readonly kind: 'accepted' }
  /** The device rejected the command for a time; it is sent again with the same id. `reason`: why. */
  | { readonly kind: 'deferred'; readonly reason: string }
  | { readonly kind: 'succeeded'; readonly result: unknown; readonly isOld: boolean }
  | {
      readonly kind: 'failed';
      readonly code: string;
      readonly message: string | null;
      readonly isOld: boolean;
    }
  | { readonly kind: 'session'; readonly session: string }
  | { readonly kind: 'model'; readonly state: DeviceMessages['model/state'] }
  | { readonly kind: 'agent'; readonly state: DeviceMessages['agent/state'] };

export const WAITING: DeviceProgress = { phase: 'waiting', detail: null, message: null, percent: null };
export const COMMITTED: DeviceProgress = { ...WAITING, phase: 'committed' };
/** `detail` of a device that had the version before the rollout. */
export const ALREADY_INSTALLED = 'was there';
/** `detail` of a device on which another version became active after the rollout had installed its own. */
export const SUPERSEDED = 'superseded';

export const WAS_THERE: DeviceProgress = { ...COMMITTED, detail: ALREADY_INSTALLED };

/** True between the command and the first state that names its install. */
export const isStarting = ({ phase, detail }: DeviceProgress): boolean =>
  phase === 'sent' || (phase === 'installing' && detail === null);
