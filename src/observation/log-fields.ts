import type { Observed } from './camera-runner.ts';

/** What the log says about one observation. */
export function logFields({ observation, burst }: Observed): Readonly<Record<string, unknown>> {
  const { id, camera, seq, wave, status, reasons, calibration, simulated } = observation;
  const truth = burst?.frames.at(-1)?.truth;
  return {
    camera,
    id,
    seq,
    status,
    ...(reasons.length > 0 ? { reasons: reasons.join(',') } : {}),
    height_m: wave.height_m,
    ...(wave.height_m === null
      ? {}
      : { low_m: wave.height_low_m, high_m: wave.height_high_m, basis: wave.height_basis }),
    ...(truth ? { truth_m: Number(truth.heightM.toFixed(2)) } : {}),
    ...(simulated === true ? { simulated } : {}),
    labels: calibration.labels,
    total_ms: observation.timing_ms.total,
  };
}
