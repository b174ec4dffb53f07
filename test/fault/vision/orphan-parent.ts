// Started by process.test.ts: opens a vision process, sends it a frame that never ends, prints its pid, and waits to be killed.
import sharp from 'sharp';
import { systemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import { VisionProcess } from '../../../src/vision/vision-process.ts';
import { bundleDir } from '../../fixtures/bundles.ts';

const vision = new VisionProcess(
  {
    bundle: await openBundle(bundleDir('loop-when-red')),
    plan: { provider: 'cpu', threads: 1 },
    timeoutS: 300,
    maxRssMb: 1000,
    queueMax: 4,
  },
  { clock: systemClock, log: createLog('silent'), onEvent: () => undefined },
);
await vision.start(new AbortController().signal);
const red = await sharp({ create: { width: 64, height: 48, channels: 3, background: '#ff0000' } })
  .png()
  .toBuffer();
vision.analyze(red, { roi: null, privacyMasks: [], ignoreGate: true }).catch(() => undefined);
// Wait until the model has the frame.
setTimeout(() => process.stdout.write(`${vision.pid}\n`), 700);
