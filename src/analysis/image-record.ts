import type { SiteCalibration } from '../calibration/site-calibration.ts';
import type { ModelRef } from '../contract/observation.ts';
import { AgentError } from '../base/errors.ts';
import { estimateHeight } from '../observation/height-estimate.ts';
import { burstView, meanEmbedding, usedResults, type Burst } from '../observation/burst.ts';
import { buildRecord } from '../observation/record.ts';
import type { ObservationDraft } from '../store/types.ts';
import type { FrameResult } from '../vision/protocol.ts';

export interface ImageContext {
  readonly camera: string;
  readonly atMs: number;
  readonly totalMs: number;
  readonly model: ModelRef | null;
  readonly provider: string | null;
  readonly calibration: SiteCalibration | null;
}

/** A single image as the agent would have recorded it: a burst of one, which is no word on the camera's present view. */
export function imageRecord(outcome: FrameResult | AgentError, context: ImageContext): ObservationDraft {
  const failed = outcome instanceof AgentError;
  const burst: Burst = {
    frames: [],
    lastFrame: null,
    results: failed ? [] : [outcome],
    failures: failed ? [outcome] : [],
    cameraFailure: null,
    captureMs: 0,
    totalMs: context.totalMs,
  };
  const used = usedResults(burst);
  const estimate = estimateHeight(context.calibration, meanEmbedding(used), burstView(used), 'stray');
  const { camera, model, provider } = context;
  return buildRecord(
    {
      site: 'local',
      device: 'local',
      camera,
      bootId: '',
      model,
      provider,
      clock: { synced: false, offset_ms: null },
    },
    {
      dueAtMs: context.atMs,
      dueMonoMs: 0,
      framesRequested: 1,
      burst,
      skipped: null,
      covers: 1,
      frozen: null,
      moved: estimate.reason === 'view_changed' ? true : null,
      estimate,
    },
  );
}
