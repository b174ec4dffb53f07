// Loaded into the measured agent with --import. The first SIGUSR2 starts the measurement of the event-loop lag, each
// further one writes it to a file.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { writeFileSync } from 'node:fs';

const RESOLUTION_MS = 5;
const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
// The histogram starts at the first signal: its timer must not keep the agent alive, and start-up is measured separately.
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
