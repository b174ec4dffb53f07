import { BREAKER_REASONS } from '../../contract/codes.ts';
import { isScaleDoubtful, type BreakerHeight, type BreakerReason } from '../../geometry/breaker-height.ts';
import { MIN_DURATION_S } from '../../sea-state/estimate.ts';
import type { Breaking, SeaStateEstimate, SeaStateReason, SecondTrain } from '../../sea-state/types.ts';
import { bold, line, warn, type Line } from '../line.ts';

const REASONS: Readonly<Record<SeaStateReason, string>> = {
  too_short: `the clip is shorter than ${String(MIN_DURATION_S)} s`,
  too_few_frames: 'there are too few frames per second for the shortest waves',
  gaps: 'too many frames are missing',
  dark: 'the picture is dark',
  frozen: 'the picture does not change',
  repeated: 'the same part of the film is played again and again',
  view_changed: 'the camera moved',
  fog: 'there is fog',
  glare: 'the sun or the sky glares',
  obstructed: 'something covers the picture',
  no_water: 'nothing in the picture moves as waves do',
  no_peak: 'no period stands out from the others',
  incoherent: 'neighbouring parts of the picture do not show the same waves',
  seaward: 'the movement is not towards the shore; are the frames in the right order?',
};

/** One line for a person. */
export function formatClip(fromS: number, estimate: SeaStateEstimate): Line {
  const [span, result, rest] = partsOf(fromS, estimate);
  return line`${span}  ${estimate.period ? bold(result) : warn(result)}${rest}`;
}

/** Lines for a person about the height of the breakers. */
export function formatBreaker(height: BreakerHeight | BreakerReason): readonly Line[] {
  if (typeof height === 'string')
    return [line`  ${warn('no breaker height')}: ${BREAKER_REASONS[height].meaning}`];
  const { heightM, lowM, highM, count, scaleRatio } = height;
  return [
    `  breaker height ${heightM.toFixed(1)} m (${lowM.toFixed(1)} to ${highM.toFixed(1)} m), from ${String(count)} breakers`,
    ...(isScaleDoubtful(height)
      ? [
          warn(
            `  check the pose: the speed of the breakers suggests a camera ${(scaleRatio ?? 0).toFixed(1)} times as high above the water`,
          ),
        ]
      : []),
  ];
}

/** The same line without colours. */
export const describeClip = (fromS: number, estimate: SeaStateEstimate): string => {
  const [span, result, rest] = partsOf(fromS, estimate);
  return `${span}  ${result}${rest}`;
};

function partsOf(
  fromS: number,
  { durationS, reasons, period, breaking }: SeaStateEstimate,
): readonly [span: string, result: string, rest: string] {
  const span = `${clockTime(fromS)} to ${clockTime(fromS + durationS)}`;
  if (!period) return [span, 'no period', `: ${reasons.map((reason) => REASONS[reason]).join('; ')}`];
  const { peakS, lowS, highS, coverage, energyS, second } = period;
  const interval = `${seconds(lowS)} to ${seconds(highS)} s at ${String(coverage * 100)} %`;
  return [
    span,
    `period ${seconds(peakS)} s`,
    ` (${interval}), energy period ${seconds(energyS)} s${describeSecond(second)}${describeBreaking(breaking)}`,
  ];
}

function describeSecond(second: SecondTrain | null): string {
  if (!second) return '';
  const { peakS, interval } = second;
  const span = interval ? ` (${seconds(interval.lowS)} to ${seconds(interval.highS)} s)` : '';
  return `; mixed sea, second train ${seconds(peakS)} s${span}`;
}

function describeBreaking(breaking: Breaking | null): string {
  if (!breaking) return '';
  const { whiteShare, perMinute, sets, setIntervalS } = breaking;
  const groups =
    sets === null || setIntervalS === null
      ? ''
      : `, ${String(sets)} sets, one each ${setIntervalS.toFixed(0)} s`;
  const breakers = perMinute === null ? '' : `; ${perMinute.toFixed(1)} breakers a minute`;
  return `${breakers}; white water ${(whiteShare * 100).toFixed(1)} %${groups}`;
}

const seconds = (value: number): string => value.toFixed(1);

function clockTime(seconds: number): string {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}
