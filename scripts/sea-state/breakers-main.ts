// npm run check:breakers: measures the height of breakers of simulated seas, from their images. See docs/geometry.md.
import { parseArgs } from 'node:util';
import { readPositiveOption } from '../positive-option.ts';
import { measureSimulatedBreakers } from './breakers.ts';
import { createSeas } from './seas.ts';

const { values } = parseArgs({
  options: {
    seas: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1000' },
    duration: { type: 'string', default: '200' },
    width: { type: 'string', default: '960' },
  },
});
const seas = createSeas(readPositiveOption('seas', values.seas), readPositiveOption('seed', values.seed));
const durationS = readPositiveOption('duration', values.duration);
const widthPx = readPositiveOption('width', values.width);
/** Largest error of a height, as a share of the true one. */
const MAX_ERROR_SHARE = 0.25;

let answered = 0;
let close = 0;
let covered = 0;
for (const sea of seas) {
  const { height, truthM } = measureSimulatedBreakers(sea, { durationS, fps: 2, widthPx });
  const trains = sea.conditions.swells?.map(
    ({ heightM, periodS }) => `${heightM.toFixed(2)} m ${periodS.toFixed(1)} s`,
  );
  let result = typeof height === 'string' ? `refused: ${height}` : '';
  if (typeof height !== 'string') {
    const isClose = Math.abs(height.heightM / truthM - 1) <= MAX_ERROR_SHARE;
    answered += 1;
    const isCovered = height.lowM <= truthM && height.highM >= truthM;
    if (isClose) close += 1;
    if (isCovered) covered += 1;
    result = `${height.heightM.toFixed(2)} m (${height.lowM.toFixed(2)} to ${height.highM.toFixed(2)} m)${isClose ? '' : ', not close'}${isCovered ? '' : ', not covered'}`;
  }
  process.stdout.write(
    `${String(sea.seed)}  ${trains?.join(' + ') ?? ''}, breakers of ${truthM.toFixed(2)} m: ${result}\n`,
  );
}
process.stdout.write(
  `${String(answered)} of ${String(seas.length)} answered, ${String(close)} close to the truth, ${String(covered)} intervals cover it\n`,
);
process.exitCode =
  2 * answered >= seas.length && close >= 0.8 * answered && covered >= 0.7 * answered ? 0 : 1;
