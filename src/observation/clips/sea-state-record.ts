import { isoTime } from '../../base/clock.ts';
import type { AgentError } from '../../base/errors.ts';
import { timeOrderedUuid } from '../../base/uuid.ts';
import {
  SEA_STATE_REASON_CODES,
  type SeaStateRecord,
  type SeaStateRecordReason,
} from '../../contract/sea-state.ts';
import { MIN_DURATION_S } from '../../sea-state/estimate.ts';
import { breakingFields, periodFields, travelField } from '../../sea-state/record-fields.ts';
import type { Measured } from '../../sea-state/process/messages.ts';
import type { Slot } from '../../schedule/types.ts';
import type { SeaStateDraft } from '../../store/types.ts';
import type { RecordContext } from '../record.ts';
import { breakerFields, type BreakerInput } from './breaker-record.ts';
import type { Clip } from './take-clip.ts';

export interface SeaStateInput {
  readonly context: Pick<RecordContext, 'site' | 'device' | 'camera' | 'bootId' | 'clock' | 'simulated'>;
  readonly slot: Slot;
  readonly dueMonoMs: number;
  /** Null for a skipped slot. */
  readonly clip: Clip | null;
  /** Null when the clip was not measured. */
  readonly measured: Measured | AgentError | null;
  readonly totalMs: number;
  readonly geometry: BreakerInput['geometry'];
  readonly levelAt: BreakerInput['levelAt'];
}

const METHOD = 'video_spectrum';
const NO_PERIOD: SeaStateRecord['period'] = {
  ...{ peak_s: null, low_s: null, high_s: null, coverage: null },
  ...{ energy_s: null, second_s: null, second_low_s: null, second_high_s: null },
  ...{ mixed_sea: null, coherence: null, snr: null },
};
const NO_BREAKING: SeaStateRecord['breaking'] = {
  ...{ white_share: null, per_minute: null, sets: null, set_interval_s: null },
};

/** True when the clip is complete, its film has ended, or enough of it was there before the camera failed. */
export const isWorthMeasuring = ({ sampler, cameraFailure }: Clip): boolean =>
  sampler.frames > 0 &&
  (cameraFailure === null || cameraFailure.code === 'camera_ended' || sampler.durationS >= MIN_DURATION_S);

/** The record of one clip. What is not known is null. */
export function buildSeaState(input: SeaStateInput): SeaStateDraft {
  const { context, slot, clip, totalMs } = input;
  const measured = input.measured && 'estimate' in input.measured ? input.measured : null;
  const estimate = measured?.estimate ?? null;
  const capturedAtMs = clip?.first?.capturedAtMs ?? slot.dueAtMs;
  const { breaker, isDoubtful } = breakerFields({
    geometry: input.geometry,
    levelAt: input.levelAt,
    faces: measured?.breakers?.faces ?? null,
    rateHz: measured?.breakers?.rateHz ?? 1,
    place: clip?.columns.place ?? null,
    periodS: estimate?.period?.peakS ?? null,
    capturedAtMs,
    isClockSynced: context.clock.synced,
  });
  return {
    schema: 'swellsight.sea_state/1',
    id: timeOrderedUuid(capturedAtMs),
    site: context.site,
    device: context.device,
    camera: context.camera,
    boot_id: context.bootId,
    captured_at: isoTime(capturedAtMs),
    mono_ms: round(clip?.first?.monoMs ?? input.dueMonoMs, 1),
    duration_s: round(clip?.sampler.durationS ?? 0, 2),
    frames: {
      wanted: clip?.wanted ?? 0,
      used: clip?.sampler.frames ?? 0,
      gaps: measured?.missing ?? 0,
    },
    clock: context.clock,
    ...verdict(input),
    period: estimate?.period ? periodFields(estimate.period) : NO_PERIOD,
    travel_deg: travelField(estimate?.travelDeg ?? null),
    breaking: estimate?.breaking ? breakingFields(estimate.breaking) : NO_BREAKING,
    breaker,
    method: estimate?.period ? METHOD : null,
    timing_ms: {
      capture: clip && round(clip.captureMs, 1),
      decode: clip?.decodeMs == null ? null : round(clip.decodeMs, 2),
      estimate: measured && round(measured.cpuMs, 1),
      total: clip && round(totalMs, 1),
    },
    warnings: [...warningsOf(input), ...(isDoubtful ? (['camera_height_doubtful'] as const) : [])],
    simulated: context.simulated ?? false,
  };
}

function verdict({ slot, clip, measured }: SeaStateInput): Pick<SeaStateRecord, 'status' | 'reasons'> {
  if (clip === null) return { status: 'skipped', reasons: [slot.skipped ?? 'internal'] };
  if (measured && 'estimate' in measured) {
    const { reasons } = measured.estimate;
    return { status: reasons.length > 0 ? 'rejected' : 'measured', reasons: [...reasons] };
  }
  const failure = measured ?? clip.cameraFailure ?? clip.imageFailure;
  return { status: 'failed', reasons: [reasonOf(failure)] };
}

const reasonOf = (failure: AgentError | null): SeaStateRecordReason =>
  SEA_STATE_REASON_CODES.find((reason) => reason === failure?.code) ?? 'internal';

function warningsOf({ slot, clip, measured }: SeaStateInput): SeaStateRecord['warnings'] {
  const covers = slot.covers ?? 1;
  if (covers > 1) return [`stands_for_${covers}_slots`];
  if (!measured || !('estimate' in measured)) return [];
  return [...(clip?.cameraFailure ? [clip.cameraFailure.code] : []), ...measured.estimate.warnings];
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));
