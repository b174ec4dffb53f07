import { formatHeight, formatHeightRange, toUnit } from '../../shared/format.ts';
import { unit } from '../../shared/preferences.ts';
import { text } from '../../shared/text.ts';
import { scaleEnd } from './headline.ts';

/** A small scale from 0 with the interval as a band and the height as a mark. */
export function HeightScale({
  heightM,
  lowM,
  highM,
  truthM,
  isUsual,
}: {
  readonly heightM: number;
  readonly lowM: number | null;
  readonly highM: number | null;
  readonly truthM: number | null;
  readonly isUsual: boolean;
}) {
  const end = scaleEnd([heightM, highM, truthM], unit.value);
  const share = (metres: number): number => Math.min(100, (toUnit(metres, unit.value) / end) * 100);
  const at = (metres: number): string => `${share(metres).toFixed(1)}%`;
  const height = formatHeight(heightM, unit.value);
  const range = lowM === null || highM === null ? null : formatHeightRange(lowM, highM, unit.value);
  return (
    <div class="scale" role="img" aria-label={text.now.scale(height, range)}>
      <div class="track">
        {lowM === null || highM === null ? null : (
          <div
            class={`band ${isUsual ? 'usual' : ''}`}
            style={{ left: at(lowM), width: `${(share(highM) - share(lowM)).toFixed(1)}%` }}
          />
        )}
        {truthM === null ? null : <div class="truth" style={{ left: at(truthM) }} />}
        <div class="mark" style={{ left: at(heightM) }} />
      </div>
      <div class="ticks number">
        <span>0</span>
        <span>{end / 2}</span>
        <span>{`${String(end)}\u00a0${unit.value}`}</span>
      </div>
    </div>
  );
}
