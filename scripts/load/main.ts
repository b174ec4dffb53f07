// npm run load: many clients at once against a running agent that also keeps its schedule. See docs/http-api.md.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { rssMb } from '../bench/process-figures.ts';
import { drawSeaImages } from '../bench/sea-images.ts';
import { percentiles } from '../percentiles.ts';
import { freePort } from '../ports.ts';
import { readPositiveOption } from '../positive-option.ts';
import { runClients } from './clients.ts';
import { auditSchedule } from './schedule-audit.ts';

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '200' },
    minutes: { type: 'string', default: '5' },
    'think-ms': { type: 'string', default: '500' },
    every: { type: 'string', default: '10' },
    json: { type: 'string' },
  },
});
const clients = readPositiveOption('clients', values.clients);
const durationMs = readPositiveOption('minutes', values.minutes) * 60_000;
const thinkMs = readPositiveOption('think-ms', values['think-ms']);
const everyS = readPositiveOption('every', values.every);
const root = join(import.meta.dirname, '..', '..');

const dir = mkdtempSync(join(tmpdir(), 'swellsight-load-'));
const port = await freePort();
const config = join(dir, 'config.json');
writeFileSync(
  config,
  JSON.stringify({
    stateDir: join(dir, 'var'),
    // All clients share one address.
    http: { port, rateLimit: 1_000_000 },
    mqtt: { embedded: { port: await freePort() } },
    cameras: [{ id: 'cam', kind: 'simulated', schedule: { everyS }, burst: { frames: 3, intervalS: 1 } }],
  }),
);
const agent = spawn(process.execPath, [join(root, 'bin/swellsight.mjs'), 'run', '--config', config], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
process.once('exit', () => {
  agent.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});
const exited = once(agent, 'exit') as Promise<[number | null]>;
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

const isReady = async (): Promise<boolean> => {
  try {
    return (await fetch(`http://127.0.0.1:${port}/ready`)).ok;
  } catch {
    return false;
  }
};
const readyByMs = Date.now() + 120_000;
while (!(await isReady())) {
  if (Date.now() > readyByMs || agent.exitCode !== null) throw new Error('the agent is not ready');
  await delay(200);
}

process.stderr.write(`${clients} clients for ${values.minutes} min, an observation every ${everyS} s\n`);
const sinceMs = Date.now();
const rss: number[] = [];
const rssTimer = setInterval(() => {
  rss.push(rssMb(agent.pid ?? 0));
}, 1000);
const tally = await runClients(
  { port, clients, durationMs, thinkMs, camera: 'cam', images: drawSeaImages(4), maxRetryAfterMs: 60_000 },
  interrupted.signal,
);
clearInterval(rssTimer);
await delay(everyS * 1000);
const audit = await auditSchedule(port, 'cam', sinceMs);
agent.kill('SIGTERM');
const [code] = await exited;

const slots = Math.floor((Date.now() - sinceMs) / 1000 / everyS);
const faults = [
  ...tally.faults,
  ...(audit.lost.length > 0 ? [`lost observations: ${audit.lost.join(', ')}`] : []),
  ...(audit.longestGapS > 2 * everyS ? [`${audit.longestGapS} s without an observation`] : []),
  ...(audit.observations < slots - 2 ? [`${audit.observations} observations in ${slots} slots`] : []),
  ...(code === 0 ? [] : [`the agent exited with ${String(code)}`]),
];
const report = {
  clients,
  minutes: durationMs / 60_000,
  requests: tally.requests,
  requestsPerS: round(tally.requests / (durationMs / 1000)),
  answers: Object.fromEntries(tally.answers),
  tookMs: Object.fromEntries([...tally.tookMs].map(([name, took]) => [name, quantiles(took)])),
  rssMb: { first: round(rss[0] ?? 0), most: round(Math.max(0, ...rss)), last: round(rss.at(-1) ?? 0) },
  schedule: { slots, ...audit },
  faults,
};
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;

function round(value: number): number {
  return Number(value.toFixed(1));
}

function quantiles(tookMs: readonly number[]) {
  const { p50, p99, max } = percentiles(tookMs);
  return { count: tookMs.length, p50: round(p50), p99: round(p99), most: round(max) };
}
