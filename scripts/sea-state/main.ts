// npm run check:sea: measures the wave period of simulated seas, from their images to the estimate. See docs/sea-state.md.
import { parseArgs } from 'node:util';
import { DrawingProcess } from '../../src/camera/simulated/drawing-process.ts';
import { readPositiveOption } from '../positive-option.ts';
import { isClose, measureSimulatedClip } from './measure.ts';
import { createSeas } from './seas.ts';

const { values } = parseArgs({
  options: {
    seas: { type: 'string', default: '40' },
    seed: { type: 'string', default: '1000' },
    duration: { type: 'string', default: '256' },
    width: { type: 'string', default: '192' },
  },
});
const seas = createSeas(readPositiveOption('seas', values.seas), readPositiveOption('seed', values.seed));
const durationS = readPositiveOption('duration', values.duration);
const widthPx = readPositiveOption('width', values.width);

const drawing = new DrawingProcess();
// The process stays from one sea to the next.
drawing.join();
let answered = 0;
let close = 0;
let covered = 0;
for (const { seed, conditions } of seas) {
  const steps = [{ fromS: 0, conditions }];
  const { estimate, truth } = await measureSimulatedClip(
    { seed, steps, durationS, fps: 2, widthPx },
    drawing,
  );
  const truthS = truth?.periodS ?? 0;
  const trains = truth?.trains.map(
    ({ heightM, periodS }) => `${heightM.toFixed(2)} m ${periodS.toFixed(1)} s`,
  );
  const { period, reasons } = estimate;
  let result = `refused: ${reasons.join(', ')}`;
  if (period) {
    const isCovered = period.lowS <= truthS && period.highS >= truthS;
    answered += 1;
    if (isClose(period.peakS, truthS)) close += 1;
    if (isCovered) covered += 1;
    const interval = `${period.lowS.toFixed(1)} to ${period.highS.toFixed(1)} s`;
    result =
      `${period.peakS.toFixed(1)} s (${interval})` +
      `${isClose(period.peakS, truthS) ? '' : ', not close'}${isCovered ? '' : ', not covered'}`;
  }
  process.stdout.write(
    `${String(seed)}  ${trains?.join(' + ') ?? '?'}, sway ${String(conditions.swayDeg)} deg: ${result}\n`,
  );
}
await drawing.leave();
process.stdout.write(
  `${String(answered)} of ${String(seas.length)} answered, ${String(close)} close to the truth, ` +
    `${String(covered)} intervals cover it\n`,
);
const isGood = close >= 0.9 * answered && answered >= 0.9 * seas.length;
process.exitCode = isGood && covered >= 0.7 * answered && covered <= 0.95 * answered ? 0 : 1;
