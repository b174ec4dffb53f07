import { createHash } from 'node:crypto';
import { Type, type Static } from '@sinclair/typebox';
import {
  Count,
  ErrorCodeName,
  Milliseconds,
  Nullable,
  Ratio01,
  StringEnum,
  Time,
  closed,
} from './schema-parts.ts';
import { ModelRef } from './observation.ts';

/** Safe as a path component: no slash, not `.` or `..`. */
export const ModelName = Type.String({
  pattern: '^[a-z0-9][a-z0-9._-]{0,63}$',
  description: 'as in the manifest',
});
/** https://semver.org, with a length limit. */
export const ModelVersion = Type.String({
  maxLength: 64,
  pattern:
    '^(0|[1-9]\\d{0,8})\\.(0|[1-9]\\d{0,8})\\.(0|[1-9]\\d{0,8})' +
    '(-[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?(\\+[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?$',
  description: 'semver',
});
export const Digest = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' });

/** More than any device can store. */
const MAX_TRANSFER_BYTES = 64 * 1024 ** 3;

export const ModelSource = Type.Union([
  Type.Object(
    { kind: Type.Literal('repository') },
    { ...closed, description: 'the repository in the configuration of the device' },
  ),
  Type.Object(
    {
      kind: Type.Literal('mqtt'),
      size_bytes: Type.Integer({ minimum: 1, maximum: MAX_TRANSFER_BYTES }),
      digest: { ...Digest, description: 'digest of the sent bytes' },
    },
    {
      ...closed,
      description: 'a tar of the repository, which the device requests in blocks on `model/blocks/request`',
    },
  ),
]);
export type ModelSource = Static<typeof ModelSource>;

export const ModelInstallArgs = Type.Object(
  {
    name: ModelName,
    version: ModelVersion,
    digest: Type.Optional({
      ...Digest,
      description: 'digest of the bundle; a bundle with another digest is refused',
    }),
    source: ModelSource,
    clear_failed: Type.Optional(
      Type.Boolean({
        description:
          'install although this model, or another one with this name and version, failed on this device before',
      }),
    ),
  },
  closed,
);
export type ModelInstallArgs = Static<typeof ModelInstallArgs>;

/** In chronological order. The last three are final. */
export const INSTALL_PHASES = [
  'requested',
  'downloading',
  'verifying',
  'testing',
  'shadow',
  'probation',
  'committed',
  'failed',
  'rolled_back',
] as const;
export type InstallPhase = (typeof INSTALL_PHASES)[number];

/** True when an install in this phase has ended. */
export const isFinalPhase = (phase: InstallPhase): boolean =>
  phase === 'committed' || phase === 'failed' || phase === 'rolled_back';

const Phase = StringEnum(INSTALL_PHASES);

export const ModelShadow = Type.Object(
  {
    frames: { ...Count, description: 'live frames that both models analysed' },
    failures: { ...Count, description: 'live frames on which the new model failed' },
    active_p50_ms: Nullable(Milliseconds),
    candidate_p50_ms: Nullable(Milliseconds),
    height_mean_difference_m: Nullable(Type.Number({ description: 'new model minus active model' })),
    height_max_difference_m: Nullable(Type.Number({ minimum: 0 })),
    direction_differs_01: Nullable({ ...Ratio01, description: 'share of frames' }),
    breaking_differs_01: Nullable({ ...Ratio01, description: 'share of frames' }),
    calibrations: Type.Array(
      Type.Object(
        {
          camera: Type.String(),
          labels: Count,
          outcome: StringEnum(['kept', 'refitted', 'lost', 'none'], {
            description:
              'kept: same embeddings; refitted: computed again from stored images; lost: no images are stored for the labels, new ' +
              'labels are needed; none: there are no labels',
          }),
          refitted_labels: { ...Count, description: 'labels whose images are still stored' },
          loo_mae_before_m: Nullable(Type.Number({ minimum: 0 })),
          loo_mae_after_m: Nullable(Type.Number({ minimum: 0 })),
        },
        closed,
      ),
      { description: 'effect on the site calibration of each camera' },
    ),
  },
  { ...closed, title: 'ModelShadow' },
);
export type ModelShadow = Static<typeof ModelShadow>;

export const ModelInstall = Type.Object(
  {
    update_id: Type.String({ format: 'uuid' }),
    name: Type.String(),
    version: Type.String(),
    source: StringEnum(['repository', 'mqtt']),
    phase: Phase,
    in_progress: Type.Boolean({
      description: 'false after the end, and while the new model is active on probation',
    }),
    reason: Nullable(
      Type.Object(
        { code: ErrorCodeName, message: Type.String() },
        { ...closed, description: 'why it failed' },
      ),
    ),
    bytes: Count,
    total_bytes: Nullable(Count),
    percent: Nullable(
      Type.Integer({
        minimum: 0,
        maximum: 100,
        description: 'progress of the phase, in steps of five; null when it is unknown',
      }),
    ),
    started_at: Time,
    at: { ...Time, description: 'start of the phase' },
    candidate: Nullable(ModelRef),
    trusted: Type.Boolean({ description: 'the bundle has a valid signature' }),
    shadow: Nullable(ModelShadow),
    probation: Nullable(Type.Object({ answers: Count, failures: Count, failed_starts: Count }, closed)),
  },
  { ...closed, title: 'ModelInstall', description: 'the current or the last install' },
);
export type ModelInstall = Static<typeof ModelInstall>;

export const RefusedModel = Type.Object(
  { name: Type.String(), version: Type.String(), digest: Type.String(), code: ErrorCodeName, at: Time },
  { ...closed, description: 'failed on this device, and refused until an install with `clear_failed`' },
);
export type RefusedModel = Static<typeof RefusedModel>;

/** `…/model/progress`, QoS 0. */
export const ModelProgress = Type.Object(
  {
    schema: Type.Literal('swellsight.model_progress/1'),
    update_id: Type.String({ format: 'uuid' }),
    phase: Phase,
    bytes: Count,
    total_bytes: Nullable(Count),
    percent: Nullable(
      Type.Number({
        minimum: 0,
        maximum: 100,
        description: 'progress of the phase; null when it is unknown',
      }),
    ),
  },
  { ...closed, $id: 'swellsight.model_progress/1', title: 'ModelProgress' },
);
export type ModelProgress = Static<typeof ModelProgress>;

/** `…/model/blocks/request`: requests these bytes on `cmd/model.block`. */
export const ModelBlockRequest = Type.Object(
  {
    update_id: Type.String({ format: 'uuid' }),
    offset: Count,
    length: Type.Integer({ minimum: 1, maximum: 98_304, description: 'at most 96 KiB' }),
  },
  { ...closed, $id: 'swellsight.model_block_request/1', title: 'ModelBlockRequest' },
);
export type ModelBlockRequest = Static<typeof ModelBlockRequest>;

/** The result of `model.install`, when the new model is active on probation. */
export const ModelInstallResult = Type.Object(
  {
    update_id: Type.String({ format: 'uuid' }),
    phase: Phase,
    model: ModelRef,
    shadow: Nullable(ModelShadow),
  },
  closed,
);
export type ModelInstallResult = Static<typeof ModelInstallResult>;

/** The active model after a rollback or a reload. */
export const ModelServes = Type.Object({ model: ModelRef }, closed);
export type ModelServes = Static<typeof ModelServes>;

export const ModelAborted = Type.Object({ aborted: Type.Literal(true) }, closed);
export type ModelAborted = Static<typeof ModelAborted>;

/**
 * The id of the install that a command starts: a UUID of version 8 (RFC 9562) that device and sender both derive from the
 * id of the command.
 */
export function updateIdOf(commandId: string): string {
  const bytes = createHash('sha256').update(`swellsight model.install ${commandId}`).digest().subarray(0, 16);
  bytes[6] = 0x80 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
