import { Type, type Static } from '@sinclair/typebox';
import { Digest, ModelSource, ModelVersion } from './model.ts';
import { Count, Nullable, StringEnum, Time, closed } from './schema-parts.ts';

/** The version of the agent that an operator wants, as in the signed repository of agents. */
export const AgentInstallArgs = Type.Object(
  {
    version: ModelVersion,
    digest: Type.Optional({
      ...Digest,
      description: 'digest of the archive; an archive with another digest is refused',
    }),
    source: ModelSource,
  },
  closed,
);
export type AgentInstallArgs = Static<typeof AgentInstallArgs>;

/**
 * In chronological order. `installing`: the updater works. `trial`: the new version runs and is not confirmed yet. The
 * last three are final.
 */
export const UPDATE_PHASES = [
  'requested',
  'downloading',
  'verifying',
  'waiting',
  'installing',
  'trial',
  'committed',
  'failed',
  'returned',
] as const;
export type UpdatePhase = (typeof UPDATE_PHASES)[number];

/** True when an update in this phase has ended. */
export const isFinalUpdatePhase = (phase: UpdatePhase): boolean =>
  phase === 'committed' || phase === 'failed' || phase === 'returned';

const Phase = StringEnum(UPDATE_PHASES, {
  description:
    'waiting: for the window of automatic updates; installing: the updater works; trial: the new version runs and is not ' +
    'confirmed; returned: the former version runs again',
});

/** One version of the agent. */
export const AgentRelease = Type.Object(
  {
    version: Type.String(),
    digest: Nullable({ ...Digest, description: 'digest of its archive; null when it is unknown' }),
  },
  { ...closed, title: 'AgentRelease' },
);
export type AgentRelease = Static<typeof AgentRelease>;

const Reason = Type.Object(
  { code: Type.String(), message: Type.String() },
  { ...closed, description: 'why it failed' },
);

export const AgentUpdate = Type.Object(
  {
    update_id: Type.String({ format: 'uuid' }),
    action: StringEnum(['install', 'rollback']),
    automatic: Type.Boolean({ description: 'started by `update.auto`' }),
    version: Type.String({ description: 'the version that the update leads to' }),
    digest: Nullable(Digest),
    source: Nullable(StringEnum(['repository', 'mqtt'])),
    phase: Phase,
    in_progress: Type.Boolean(),
    reason: Nullable(Reason),
    bytes: Count,
    total_bytes: Nullable(Count),
    percent: Nullable(
      Type.Integer({
        minimum: 0,
        maximum: 100,
        description: 'progress of the download, in steps of five; null when it is unknown',
      }),
    ),
    started_at: Time,
    at: { ...Time, description: 'start of the phase' },
    waiting_for: Type.Array(Type.String(), {
      description:
        'during the trial, what is missing for the confirmation: `time`, `observations`, `vision`, `store`, `broker`, or a new ' +
        'code of `degraded`',
    }),
  },
  { ...closed, title: 'AgentUpdate', description: 'the current or the last update' },
);
export type AgentUpdate = Static<typeof AgentUpdate>;

/** `…/agent/state`, retained. */
export const AgentVersions = Type.Object(
  {
    schema: Type.Literal('swellsight.agent_state/1'),
    available: Type.Boolean({ description: 'the installation has an updater; else updates are refused' }),
    updater_version: Nullable(Type.String()),
    running: AgentRelease,
    last_good: Nullable({ ...AgentRelease, description: 'the version that was confirmed last' }),
    factory: Nullable({ ...AgentRelease, description: 'the version that the installer installed' }),
    installed: Type.Array(AgentRelease),
    banned: Type.Array(
      Type.Object(
        { version: Type.String(), digest: Type.String(), reason: Type.String(), at: Time },
        { ...closed, description: 'failed on this device, and is refused' },
      ),
    ),
    update: Nullable(AgentUpdate),
    auto: Type.Object(
      {
        enabled: Type.Boolean(),
        checked_at: Nullable(Time),
        newest: Nullable(
          Type.String({ description: 'the newest version in the repository for this device' }),
        ),
        error: Nullable(Reason),
      },
      closed,
    ),
  },
  { ...closed, $id: 'swellsight.agent_state/1', title: 'AgentState' },
);
export type AgentVersions = Static<typeof AgentVersions>;

/** `…/agent/progress`, QoS 0. */
export const AgentProgress = Type.Object(
  {
    schema: Type.Literal('swellsight.agent_progress/1'),
    update_id: Type.String({ format: 'uuid' }),
    phase: Phase,
    bytes: Count,
    total_bytes: Nullable(Count),
    percent: Nullable(Type.Number({ minimum: 0, maximum: 100, description: 'progress of the download' })),
  },
  { ...closed, $id: 'swellsight.agent_progress/1', title: 'AgentProgress' },
);
export type AgentProgress = Static<typeof AgentProgress>;

/** The result of `agent.install` and `agent.rollback`, when the version is confirmed. */
export const AgentUpdateResult = Type.Object(
  {
    update_id: Type.String({ format: 'uuid' }),
    version: Type.String(),
    digest: Nullable(Digest),
  },
  closed,
);
export type AgentUpdateResult = Static<typeof AgentUpdateResult>;
