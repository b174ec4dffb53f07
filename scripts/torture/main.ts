// npm run torture: kills, storms and power cuts, and a verdict over every record. See docs/reliability.md.
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { PLANTS } from './planted.ts';
import { table } from './report.ts';
import { Torture, type TortureReport } from './torture.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    kills: { type: 'string', default: '300' },
    partitions: { type: 'string', default: '100' },
    observations: { type: 'string', default: '20000' },
    minutes: { type: 'string', default: '45' },
    cameras: { type: 'string', default: '32' },
    'agent-kills': { type: 'string' },
    plant: { type: 'string', multiple: true, default: [] },
    broker: { type: 'string', default: 'durable' },
    brief: { type: 'boolean', default: false },
    'no-namespace': { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});

function number(name: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  process.stderr.write(`torture: --${name} wants a number\n`);
  process.exit(2);
}

const kills = number('kills', values.kills);
const agentCameras = number('cameras', values.cameras);
const torture = new Torture(
  {
    seed: values.seed === undefined ? randomInt(2 ** 31) : number('seed', values.seed),
    kills,
    partitions: number('partitions', values.partitions),
    observations: number('observations', values.observations),
    minutes: number('minutes', values.minutes),
    agentCameras,
    agentKills: number('agent-kills', values['agent-kills'] ?? (agentCameras > 0 ? values.kills : '0')),
    plants: PLANTS.filter((plant) => values.plant.includes(plant)),
    broker: values.broker === 'plain' ? 'plain' : 'durable',
    brief: values.brief,
    namespace: values['no-namespace'] ? 'no' : 'auto',
  },
  { tell: (line) => process.stderr.write(`${line}\n`) },
);
process.once('exit', () => torture.cleanUp());
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

function clean({ victims, missed }: TortureReport): boolean {
  return (
    missed.length === 0 && victims.every(({ plant, faults }) => (plant === null) === (faults.length === 0))
  );
}

const report = await torture.run();
process.stdout.write(`${table(report)}\n`);
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(report, null, 2));
process.exit(clean(report) ? 0 : 1);
