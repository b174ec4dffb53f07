// Loaded into the measured agent with --import: prints the event loop's lag when the process is told to by SIGUSR2.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { writeFileSync } from 'node:fs';

const RESOLUTION_MS = 5;
const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
// The timer that measures must not keep the agent alive, and start-up is a row of its own.
process.on('SIGUSR2', () => {
  if (!histogram.count) {
    histogram.enable();
    return;
  }
  const ms = (ns) => ns / 1e6 - RESOLUTION_MS;
  writeFileSync(
    process.env.EVENT_LOOP_LAG_FILE,
    JSON.stringify({
      p50: ms(histogram.percentile(50)),
      p99: ms(histogram.percentile(99)),
      max: ms(histogram.max),
      count: histogram.count,
    }),
  );
  histogram.reset();
});
