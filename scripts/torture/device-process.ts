// A device without cameras: the agent's store, forwarder and link, with generated records. Runs until a signal ends it.
// Argument: DeviceOptions as JSON. With `everyMs` null, it only publishes its outbox.
import { randomUUID } from 'node:crypto';
import { systemClock } from '../../src/base/clock.ts';
import { Forwarder } from '../../src/mqtt/forward/forwarder.ts';
import { MqttLink } from '../../src/mqtt/link/link.ts';
import { Topics } from '../../src/mqtt/topics.ts';
import { draft, openStore, burstFeatures, silentLog } from '../../test/fixtures/store.ts';
import { plantFault, type Plant } from './planted.ts';

export interface DeviceOptions {
  readonly stateDir: string;
  readonly url: string;
  readonly site: string;
  readonly device: string;
  readonly cameras: readonly string[];
  /** Mean interval between two records of one camera; null: create no records. */
  readonly everyMs: number | null;
  readonly plant: Plant | null;
}

const options = JSON.parse(process.argv[2] ?? '{}') as DeviceOptions;
const store = openStore(options.stateDir, systemClock, { outbox: { maxMessages: 1_000_000, maxAgeDays: 7 } });
const topics = new Topics({ base: 'swellsight/v1', site: options.site, device: options.device });
const common = { clock: systemClock, log: silentLog, raise: store.raise };
const link: MqttLink = new MqttLink(
  {
    session: randomUUID(),
    // Short timeouts, so that a short run has many connections.
    tuning: {
      keepAliveS: 3,
      connectTimeoutMs: 2000,
      ackTimeoutMs: 3000,
      backoff: { minMs: 50, maxMs: 500, resetAfterMs: 60_000 },
    },
    mqtt: {
      url: [options.url],
      protocolVersion: 5,
      clientId: `swellsight-${options.device}`,
      username: null,
      password: null,
      ca: null,
      cert: null,
      key: null,
    },
  },
  { ...common, topics, onConnected: () => forwarder.linkUp() },
);
const forwarder = new Forwarder(
  { backfillPerS: 500 },
  { ...common, outbox: store.outbox, link: options.plant === null ? link : plantFault(link, options.plant) },
);
const stopped = new AbortController();
forwarder.start(stopped.signal);
link.start(stopped.signal);
process.once('SIGTERM', () => {
  void link.stop().then(() => {
    stopped.abort();
    store.close();
    process.exit(0);
  });
});

const { everyMs } = options;
if (everyMs !== null) {
  store.raise({ type: 'device_started', severity: 'info', code: 'started', message: '', context: {} });
  for (const camera of options.cameras) void observe(camera, everyMs);
}

async function observe(camera: string, periodMs: number): Promise<never> {
  for (let n = 0; ; n += 1) {
    await systemClock.sleep(Math.random() * 2 * periodMs);
    const { device, site } = options;
    const captured_at = new Date().toISOString();
    if (n === 0) process.stdout.write('observation\n');
    store.append(draft({ camera, site, device, captured_at, mono_ms: n }), burstFeatures([n, 1, 2]));
    if (n % 40 === 39)
      store.raise({ type: 'round', severity: 'info', code: 'round', message: camera, context: { n } });
  }
}
