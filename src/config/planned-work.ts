import { AgentError } from '../base/errors.ts';
import type { Camera, Settings } from './schema.ts';

/** Share of its time for which the model may be planned by remote commands. The rest is for uploads and captures on request. */
const MAX_SHARE = 0.8;
/** Assumed until the first frame is analysed. */
const ASSUMED_FRAME_MS = 100;
/** A cron pattern has no seconds. */
const MIN_CRON_PERIOD_S = 60;

/** Frames per second that the schedules of all cameras ask for. */
export const plannedFramesPerS = (cameras: readonly Camera[]): number =>
  cameras.reduce(
    (sum, { burst, schedule }) => sum + burst.frames / (schedule.everyS ?? MIN_CRON_PERIOD_S),
    0,
  );

/**
 * Refuses a remote change that asks for more frames per second than before, and for more than the device can analyse in 80 % of
 * its time. `frameMs`: measured median time of one frame; null before the first one. Throws `config_invalid`.
 */
export function checkPlannedWork(before: Settings, after: Settings, frameMs: number | null): void {
  const [fps, fpsBefore] = [plannedFramesPerS(after.cameras), plannedFramesPerS(before.cameras)];
  const maxFps = (1000 * MAX_SHARE) / Math.max(1, frameMs ?? ASSUMED_FRAME_MS);
  if (fps <= fpsBefore || fps <= maxFps) return;
  const [asked, most] = [fps, maxFps].map((value) => value.toFixed(2));
  const reason = frameMs === null ? 'none is measured yet' : `one takes ${frameMs.toFixed(0)} ms here`;
  throw new AgentError(
    'config_invalid',
    `the change asks for ${asked ?? ''} frames per second over all cameras: wanted at most ${most ?? ''}, because ${reason}`,
  );
}
