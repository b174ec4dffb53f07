import type { DeviceMessages } from './device-messages.ts';

/** What a device says about the wanted version and about its last install. */
export interface InstallFacts {
  /** Whether the wanted version is active; null while none is, as at the start of the agent. */
  readonly isWanted: boolean | null;
  readonly update: {
    readonly id: string;
    readonly phase: string;
    readonly isOfWanted: boolean;
    readonly isOnTrial: boolean;
    readonly end: 'committed' | 'failed' | null;
    readonly percent: number | null;
    readonly reason: { readonly code: string; readonly message: string } | null;
  } | null;
}

export function modelFacts(
  wanted: { readonly name: string; readonly version: string },
  { active, install }: DeviceMessages['model/state'],
): InstallFacts {
  const isWanted = active && active.name === wanted.name && active.version === wanted.version;
  if (install == null) return { isWanted, update: null };
  const { update_id: id, phase, percent, reason, name, version } = install;
  return {
    isWanted,
    update: {
      id,
      phase,
      isOfWanted: name === wanted.name && version === wanted.version,
      isOnTrial: phase === 'probation',
      end: phase === 'committed' ? phase : phase === 'failed' || phase === 'rolled_back' ? 'failed' : null,
      percent,
      reason,
    },
  };
}

export function agentFacts(
  wanted: { readonly version: string },
  { running, update }: DeviceMessages['agent/state'],
): InstallFacts {
  const isWanted = running.version === wanted.version;
  if (update === null) return { isWanted, update: null };
  const { update_id: id, phase, percent, reason, version } = update;
  return {
    isWanted,
    update: {
      id,
      phase,
      isOfWanted: version === wanted.version,
      isOnTrial: phase === 'trial',
      end: phase === 'committed' ? phase : phase === 'failed' || phase === 'returned' ? 'failed' : null,
      percent,
      reason,
    },
  };
}
