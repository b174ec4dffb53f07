// npm run check:memory: the agent within a memory limit, for minutes. Needs root, for a cgroup of its own. See docs/health.md.
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { RunningAgent } from '../../test/fixtures/agent.ts';
import { canLimitMemory, LimitedMemory } from '../../test/fixtures/memory-cgroup.ts';
import { drawSeaImages } from '../bench/sea-images.ts';
import { readPositiveOption } from '../positive-option.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    mb: { type: 'string', default: '512' },
  },
});
const minutes = readPositiveOption('minutes', values.minutes);
const limitMb = readPositiveOption('mb', values.mb);
if (!canLimitMemory()) {
  process.stderr.write('npm run check:memory needs root and a memory cgroup\n');
  process.exit(69);
}

const memory = new LimitedMemory(limitMb);
// One observation a second: sixty times as many as with an observation a minute.
const agent = await RunningAgent.start(
  {
    mqtt: { embedded: { port: 0 } },
    cameras: [
      { id: 'sim', kind: 'simulated', schedule: { everyS: 1 }, burst: { frames: 2, intervalS: 0.3 } },
    ],
  },
  { prefix: memory.prefix },
);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

const [image = Buffer.alloc(0)] = drawSeaImages(1);
let uploads = 0;
let peakAnonymousMb = 0;
const endMs = Date.now() + minutes * 60_000;
while (Date.now() < endMs && !interrupted.signal.aborted && memory.oomKills === 0) {
  const form = new FormData();
  form.append('file', new Blob([new Uint8Array(image)], { type: 'image/jpeg' }), `${uploads}.jpg`);
  const response = await fetch(`${agent.url}/api/v1/analyze`, { method: 'POST', body: form }).catch(
    () => null,
  );
  if (response?.ok === true) uploads += 1;
  await response?.body?.cancel();
  peakAnonymousMb = Math.max(peakAnonymousMb, memory.anonymousMb);
  await delay(1000);
}

const { oomKills, peakMb } = memory;
const health = await agent.json('/health/detailed').catch(() => null);
await agent[Symbol.asyncDispose]();
memory.remove();
const observations = agent.lines.filter(({ msg }) => msg === 'observation').length;
process.stdout.write(
  `${observations} observations and ${uploads} uploads in ${minutes} min within ${limitMb} MB: ` +
    `${oomKills} killed by the kernel, peak ${Math.round(peakAnonymousMb)} MB without page cache, ` +
    `${Math.round(peakMb)} MB with it\n${JSON.stringify(health)}\n`,
);
process.exitCode = oomKills === 0 && observations > 0 ? 0 : 1;
