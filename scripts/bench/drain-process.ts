// One run of the drain measurement in its own process, so that its memory can be measured: `agent`, with the agent's
// store, forwarder and link, or `plain`, a publisher with a window on mqtt.js. Prints one line of JSON.
import { randomUUID } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'mqtt';
import { pino } from 'pino';
import { systemClock } from '../../src/base/clock.ts';
import { Forwarder } from '../../src/mqtt/forward/forwarder.ts';
import { MqttLink } from '../../src/mqtt/link/link.ts';
import { completeRecord } from '../../src/mqtt/forward/outbox-rows.ts';
import { Topics } from '../../src/mqtt/topics.ts';
import { Store } from '../../src/store/store.ts';
import { makeDrainRecord, NO_FEATURES, storeOptions } from './drain-records.ts';

export interface DrainRun {
  readonly messages: number;
  readonly elapsedMs: number;
  /** Peak resident memory during the drain, minus that at the connect. */
  readonly grownMb: number;
  readonly lagP99Ms: number;
  /** Processor time of the process during the drain. */
  readonly cpuMs: number;
  /** Wall clock at which the first live record was stored; null for the plain publisher. */
  readonly liveAtMs: number | null;
}

const WINDOW = 20;
const LAG_RESOLUTION_MS = 2;
const MB = 1_048_576;
const LIVE_AFTER_MS = 100;

const [kind = '', url = '', stateDir = ''] = process.argv.slice(2);
const deps = { clock: systemClock, log: pino({ level: 'silent' }) };

async function runAgent(): Promise<DrainRun> {
  const store = Store.open(storeOptions(stateDir), deps);
  const topics = new Topics({ base: 'swellsight/v1', site: 'bench', device: 'ours' });
  const { depth } = store.outbox.stats();
  let resolveConnected = (): void => undefined;
  const connected = new Promise<void>((resolve) => (resolveConnected = resolve));
  const link: MqttLink = new MqttLink(
    {
      mqtt: {
        url: [url],
        protocolVersion: 5,
        clientId: `bench-${randomUUID()}`,
        username: null,
        password: null,
        ca: null,
        cert: null,
        key: null,
      },
      session: randomUUID(),
    },
    { ...deps, topics, raise: store.raise, onConnected: () => resolveConnected() },
  );
  const forwarder = new Forwarder(
    { window: WINDOW, backfillPerS: 0 },
    { ...deps, link, outbox: store.outbox, raise: store.raise },
  );
  forwarder.start(new AbortController().signal);
  link.start(new AbortController().signal);
  await connected;
  const meter = new DrainMeter();
  forwarder.linkUp();
  let liveAtMs = 0;
  setTimeout(() => {
    liveAtMs = Date.now();
    store.append(makeDrainRecord(depth), NO_FEATURES);
  }, LIVE_AFTER_MS);
  while (liveAtMs === 0 || store.outbox.stats().depth > 0) await delay(5);
  const measured = meter.stop();
  await link.stop();
  store.close();
  return { messages: depth + 1, ...measured, liveAtMs };
}

async function runPlain(): Promise<DrainRun> {
  const store = Store.open(storeOptions(stateDir), deps);
  const messages = store.outbox
    .next(Number.MAX_SAFE_INTEGER, new Set())
    .map(({ payload }) => completeRecord(payload, new Date().toISOString(), true));
  store.close();
  const client = connect(url, { protocolVersion: 5, clientId: `bench-${randomUUID()}` });
  await new Promise((resolve) => client.once('connect', resolve));
  const meter = new DrainMeter();
  await new Promise<void>((resolve, reject) => {
    let next = 0;
    let acknowledged = 0;
    const publish = (): void => {
      const payload = messages[next];
      if (payload === undefined) return;
      next += 1;
      client.publish('swellsight/v1/bench/bare/camera/north/backfill', payload, { qos: 1 }, (error) => {
        if (error) reject(error);
        acknowledged += 1;
        if (acknowledged === messages.length) resolve();
        else publish();
      });
    };
    for (let n = 0; n < WINDOW; n += 1) publish();
  });
  const measured = meter.stop();
  client.end(true);
  return { messages: messages.length, ...measured, liveAtMs: null };
}

/** Measures time, memory, processor time and event-loop lag from its construction to `stop`. */
class DrainMeter {
  readonly #startedMs = performance.now();
  readonly #startedCpu = process.cpuUsage();
  readonly #startedBytes = process.memoryUsage.rss();
  readonly #lag = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  readonly #timer = setInterval(() => this.#sample(), 20);
  #peakBytes = 0;

  constructor() {
    this.#lag.enable();
  }

  stop(): Pick<DrainRun, 'elapsedMs' | 'grownMb' | 'lagP99Ms' | 'cpuMs'> {
    const { user, system } = process.cpuUsage(this.#startedCpu);
    const cpuMs = (user + system) / 1000;
    const elapsedMs = performance.now() - this.#startedMs;
    this.#sample();
    clearInterval(this.#timer);
    this.#lag.disable();
    return {
      elapsedMs,
      cpuMs,
      grownMb: (this.#peakBytes - this.#startedBytes) / MB,
      lagP99Ms: Math.max(0, this.#lag.percentile(99) / 1e6 - LAG_RESOLUTION_MS),
    };
  }

  #sample(): void {
    this.#peakBytes = Math.max(this.#peakBytes, process.memoryUsage.rss());
  }
}

const run = kind === 'agent' ? await runAgent() : await runPlain();
process.stdout.write(`${JSON.stringify(run)}\n`);
process.exit(0);
