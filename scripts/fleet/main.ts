// A fleet of simulated devices against one broker: npm run fleet -- --broker mqtt://127.0.0.1:1883 --devices 500
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../../src/base/clock.ts';
import { createLog } from '../../src/base/log.ts';
import { SimulatedDevice } from './device.ts';
import { readPositiveOption } from '../positive-option.ts';
import { LightFleet } from './light-fleet.ts';
import { FleetMeter } from './meter.ts';

const { values } = parseArgs({
  options: {
    broker: { type: 'string', default: 'mqtt://127.0.0.1:1883' },
    devices: { type: 'string', default: '500' },
    every: { type: 'string', default: '60' },
    heartbeat: { type: 'string', default: '30' },
    minutes: { type: 'string', default: '3' },
    site: { type: 'string', default: 'fleet' },
    base: { type: 'string', default: 'swellsight/v1' },
    username: { type: 'string' },
    password: { type: 'string' },
    'start-over': { type: 'string', default: '30' },
    agents: { type: 'string' },
    'agents-root': { type: 'string' },
    crashing: { type: 'string', multiple: true, default: [] },
    light: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});

const print = (line: string): void => void process.stderr.write(`${line}\n`);

const count = readPositiveOption('devices', values.devices);
const everyS = readPositiveOption('every', values.every);
const heartbeatS = readPositiveOption('heartbeat', values.heartbeat);
const startOverS = readPositiveOption('start-over', values['start-over']);
const durationMs = readPositiveOption('minutes', values.minutes) * 60_000;
const { broker, site, base, username = null, password = null } = values;

const login = username === null ? {} : { username, ...(password === null ? {} : { password }) };
const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
process.once('SIGTERM', () => stop.abort());

if (values.light) {
  const options = { url: broker, login, base, devices: count, ownConnections: 20, everyS, heartbeatS };
  const fleet = await LightFleet.start(options, { clock: systemClock, random: Math.random });
  print(`${count} devices on ${broker}; Ctrl-C ends them`);
  await fleet.run(stop.signal);
  fleet.close();
  process.exit(0);
}

const { agents: repository, 'agents-root': trustRoot, crashing } = values;
const agents =
  repository === undefined || trustRoot === undefined
    ? null
    : { repository, trustRoot, version: '1.0.0', crashing: new Set(crashing) };

const directory = mkdtempSync(join(tmpdir(), 'swellsight-fleet-'));
const meter = await FleetMeter.open(broker, `${base}/${site}/#`, login);

const log = createLog('error');
const devices: SimulatedDevice[] = [];
const running: Promise<void>[] = [];
const startedMs = performance.now();
// The devices connect one after another over this time; with `--start-over 1` almost at the same time.
for (let index = 1; index <= count && !stop.signal.aborted; index += 1) {
  const device = `sim${String(index).padStart(4, '0')}`;
  const mqtt = {
    url: [broker],
    protocolVersion: 5 as const,
    clientId: `fleet-${site}-${device}`,
    username,
    password,
    ca: null,
    cert: null,
    key: null,
  };
  const simulated = new SimulatedDevice(
    {
      mqtt,
      base,
      site,
      device,
      stateDir: join(directory, device),
      everyS,
      heartbeatS,
      ...(agents ? { agents } : {}),
    },
    { clock: systemClock, log, random: Math.random },
  );
  devices.push(simulated);
  running.push(simulated.run(stop.signal));
  const dueMs = (index / count) * startOverS * 1000;
  await systemClock
    .sleep(Math.max(0, startedMs + dueMs - performance.now()), stop.signal)
    .catch(() => undefined);
}
const connectedCount = (): number => devices.filter((device) => device.isConnected).length;
while (connectedCount() < devices.length && !stop.signal.aborted)
  await systemClock.sleep(100, stop.signal).catch(() => undefined);
const allConnectedS = (performance.now() - startedMs) / 1000;
print(`${connectedCount()} of ${count} devices connected after ${allConnectedS.toFixed(1)} s`);

meter.restart();
const measuredFromMs = performance.now();
const cpuBefore = process.cpuUsage();
while (!stop.signal.aborted && performance.now() - measuredFromMs < durationMs) {
  await systemClock.sleep(Math.min(10_000, durationMs), stop.signal).catch(() => undefined);
  const { observations, missing, online } = meter.stats();
  print(`${connectedCount()} connected, ${online} online, ${observations} observations, ${missing} missing`);
}
const seconds = (performance.now() - measuredFromMs) / 1000;
const cpu = process.cpuUsage(cpuBefore);
const measured = meter.stats();
const total = Object.values(measured.messages).reduce((sum, n) => sum + n, 0);
const cpuPct = (cpu.user + cpu.system) / 1e4 / seconds;
const rssMb = process.memoryUsage.rss() / 2 ** 20;

stop.abort();
await Promise.all(running);
// Wait for messages that are still in transit.
await systemClock.sleep(1000);
const end = meter.stats();
const stored = devices.reduce((sum, device) => sum + device.storedCount, 0);
await meter.close();
rmSync(directory, { recursive: true, force: true });

const result = {
  devices: count,
  every_s: everyS,
  heartbeat_s: heartbeatS,
  seconds,
  all_connected_s: allConnectedS,
  messages: measured.messages,
  messages_per_s: total / seconds,
  kilobytes_per_s: measured.bytes / 1000 / seconds,
  bytes_per_device_day: (measured.bytes / seconds / count) * 86_400,
  latency_ms: measured.latencyMs,
  stored,
  arrived: end.observations,
  duplicates: end.duplicates,
  missing: end.missing,
  simulator_cpu_pct: cpuPct,
  simulator_rss_mb: rssMb,
};
const { observation, health } = measured.latencyMs;
process.stdout.write(
  [
    `${count} devices, one observation every ${everyS} s, one heartbeat every ${heartbeatS} s, ${seconds.toFixed(0)} s`,
    `messages at a subscriber   ${result.messages_per_s.toFixed(1)}/s, ${result.kilobytes_per_s.toFixed(1)} kB/s`,
    `observation latency        p50 ${observation.p50} ms, p99 ${observation.p99} ms, max ${observation.max} ms`,
    `heartbeat latency          p50 ${health.p50} ms, p99 ${health.p99} ms, max ${health.max} ms`,
    `records                    ${stored} stored, ${end.observations} arrived, ${end.duplicates} duplicates, ${end.missing} missing`,
    `simulator                  ${cpuPct.toFixed(0)} % of a core, ${rssMb.toFixed(0)} MB resident`,
    '',
  ].join('\n'),
);
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
process.exit(stored === end.observations && end.missing === 0 ? 0 : 1);
