import { AgentError, asAgentError } from '../../base/errors.ts';
import type { SeaStateRecord } from '../../contract/sea-state.ts';
import { breakerField } from '../../geometry/breaker-field.ts';
import { isScaleDoubtful, measureBreakerHeight } from '../../geometry/breaker-height.ts';
import type { CameraGeometry } from '../../geometry/camera-geometry.ts';
import { toSeenBreakers } from '../../geometry/face-height.ts';
import type { ColumnPlace } from '../../sea-state/column-sampler.ts';
import type { BreakerFace } from '../../sea-state/types.ts';

export interface BreakerInput {
  /** Null without `geometry` of the camera; an error when its files cannot be used. */
  readonly geometry: CameraGeometry | AgentError | null;
  /** Level of the water in the heights of the geometry; null when it is unknown. */
  readonly levelAt: (geometry: CameraGeometry, timeMs: number | null) => number | null;
  /** Null when the clip was not measured. */
  readonly faces: readonly BreakerFace[] | null;
  readonly place: ColumnPlace | null;
  /** Samples per second of the faces. */
  readonly rateHz: number;
  readonly periodS: number | null;
  readonly capturedAtMs: number;
  readonly isClockSynced: boolean;
}

interface BreakerResult {
  readonly breaker: SeaStateRecord['breaker'];
  /** True when the speed of the breakers contradicts the geometry. */
  readonly isDoubtful: boolean;
}

/** The field `breaker` of a record. */
export function breakerFields(input: BreakerInput): BreakerResult {
  const { geometry, levelAt, faces, place, rateHz, periodS, capturedAtMs, isClockSynced } = input;
  if (geometry === null) return refused('no_geometry', null);
  if (geometry instanceof AgentError) return refused('geometry_unusable', null);
  if (periodS === null || faces === null || place === null) return refused('no_period', null);
  const levelM = levelAt(geometry, isClockSynced ? capturedAtMs : null);
  const { frameWidth, frameHeight, firstRow, columns, rows } = place;
  const rowPx = (frameHeight - firstRow) / rows;
  const pixelOf = (column: number, row: number) =>
    [((column + 0.5) * frameWidth) / columns, firstRow + row * rowPx] as const;
  const seen = toSeenBreakers(faces, rateHz, pixelOf);
  try {
    const view = geometry.viewIn({ width: frameWidth, height: frameHeight });
    const height = measureBreakerHeight(seen, view, { levelM, periodS });
    const isDoubtful = typeof height !== 'string' && isScaleDoubtful(height);
    return { breaker: breakerField(height, roundedOrNull(levelM)), isDoubtful };
  } catch (thrown) {
    if (asAgentError(thrown).code !== 'pose_unusable') throw thrown;
    return refused('geometry_unusable', levelM);
  }
}

const refused = (
  reason: NonNullable<SeaStateRecord['breaker']['reason']>,
  levelM: number | null,
): BreakerResult => ({ breaker: breakerField(reason, roundedOrNull(levelM)), isDoubtful: false });

const roundedOrNull = (value: number | null): number | null =>
  value === null ? null : Math.round(value * 100) / 100;
