import { systemClock } from '../../src/base/clock.ts';
import { createLog } from '../../src/base/log.ts';
import type { SeaTruth } from '../../src/camera/camera.ts';
import { SimulatedCamera } from '../../src/camera/simulated/camera.ts';
import type { DrawingProcess } from '../../src/camera/simulated/drawing-process.ts';
import type { Scenario } from '../../src/camera/simulated/scene.ts';
import { takeClip } from '../../src/observation/clips/take-clip.ts';
import { estimateSeaState } from '../../src/sea-state/estimate.ts';
import { resample } from '../../src/sea-state/resample.ts';
import type { SeaStateEstimate } from '../../src/sea-state/types.ts';
import { shrinkFrame } from '../../src/vision/child/analyze.ts';

export interface SimulatedClip {
  readonly seed: number;
  readonly steps: Scenario['steps'];
  readonly durationS: number;
  readonly fps: number;
  /** Small images are drawn faster. */
  readonly widthPx: number;
}

/** Takes a clip of a simulated camera as fast as it is drawn, and measures it as the agent does, but in this process. */
export async function measureSimulatedClip(
  { seed, steps, durationS, fps, widthPx }: SimulatedClip,
  drawing: DrawingProcess,
): Promise<{ readonly estimate: SeaStateEstimate; readonly truth: SeaTruth | undefined }> {
  const signal = new AbortController().signal;
  const size = { widthPx, heightPx: Math.round((widthPx * 9) / 16) };
  const camera = new SimulatedCamera(
    { id: 'sim', seed, speed: 1, clipSpeed: Infinity, script: { steps }, ...size },
    { clock: systemClock, log: createLog('silent'), drawing },
  );
  const lease = () => ({ shrink: shrinkFrame, [Symbol.dispose]: () => undefined });
  try {
    const settings = () => ({ id: 'sim', privacyMasks: [], timeoutS: 60 });
    const clip = { fps, durationS, lines: null, region: null, columns: null };
    const { sampler, first } = await takeClip(settings, clip, { camera, lease, clock: systemClock }, signal);
    const samples = sampler.samples();
    const options = { isShoreKnown: true, findings: samples.findings };
    return { estimate: estimateSeaState(resample(samples), options), truth: first?.truth };
  } finally {
    await camera.close();
  }
}

/** True when the period is within 5 % and half a frequency bin of the segments of 128 s. */
export const isClose = (periodS: number, truthS: number): boolean =>
  Math.abs(periodS - truthS) <= 0.05 * truthS + truthS ** 2 / 256;
