// npm run torture: kills, network faults and power cuts, and a comparison of every record. See docs/reliability.md.
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { PLANTS } from './planted.ts';
import { controlsLose, isSound, PowerCuts, type CutsReport } from './power/cuts.ts';
import { canCutPower } from './power/disk.ts';
import { LEVELS } from './power/writer.ts';
import { powerTable, table } from './report.ts';
import { Torture } from './torture.ts';
import type { TortureReport } from './types.ts';

/** A control needs fewer cuts, because each of them loses records. */
const CONTROL_SHARE = 0.4;

export interface Report {
  readonly network: TortureReport | null;
  readonly power: readonly CutsReport[];
  /** Parts that this system does not support. */
  readonly notRun: readonly string[];
}

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    kills: { type: 'string', default: '300' },
    partitions: { type: 'string', default: '100' },
    observations: { type: 'string', default: '20000' },
    minutes: { type: 'string', default: '60' },
    cameras: { type: 'string', default: '32' },
    'power-cuts': { type: 'string', default: '50' },
    only: { type: 'string' },
    plant: { type: 'string', multiple: true, default: [] },
    broker: { type: 'string', default: 'durable' },
    brief: { type: 'boolean', default: false },
    'no-namespace': { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const number = (name: string, text: string): number => {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  process.stderr.write(`torture: --${name} needs a number of 0 or more\n`);
  return process.exit(2);
};
const oneOf = <T extends string>(name: string, text: string, choices: readonly T[]): T => {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  process.stderr.write(`torture: --${name} must be one of ${choices.join(', ')}\n`);
  return process.exit(2);
};
const seed = values.seed === undefined ? randomInt(2 ** 31) : number('seed', values.seed);
const parts =
  values.only === undefined ? ['network', 'power'] : [oneOf('only', values.only, ['network', 'power'])];
const printProgress = (line: string): void => void process.stderr.write(`${line}\n`);

let cleanUp = (): void => undefined;
process.once('exit', () => cleanUp());
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

async function network(): Promise<TortureReport> {
  const torture = new Torture(
    {
      seed,
      kills: number('kills', values.kills),
      partitions: number('partitions', values.partitions),
      observations: number('observations', values.observations),
      minutes: number('minutes', values.minutes),
      agentCameras: number('cameras', values.cameras),
      plants: values.plant.map((plant) => oneOf('plant', plant, PLANTS)),
      broker: oneOf('broker', values.broker, ['durable', 'plain']),
      brief: values.brief,
      namespace: values['no-namespace'] ? 'no' : 'auto',
    },
    { printProgress },
  );
  cleanUp = () => torture.cleanUp();
  const report = await torture.run();
  torture.cleanUp();
  return report;
}

async function power(): Promise<readonly CutsReport[]> {
  const wanted = number('power-cuts', values['power-cuts']);
  const reports: CutsReport[] = [];
  for (const level of LEVELS) {
    const cuts = level === 'FULL' ? wanted : Math.max(4, Math.ceil(wanted * CONTROL_SHARE));
    const run = new PowerCuts({ seed, level, cuts });
    cleanUp = () => run.cleanUp();
    reports.push(await run.run());
    run.cleanUp();
    printProgress(`power cuts: ${level} done`);
  }
  return reports;
}

function isClean({ network, power }: Report): boolean {
  const delivered =
    network === null ||
    (network.missed.length === 0 &&
      network.targets.every(({ plant, faults }) => (plant === null) === (faults.length === 0)));
  return delivered && isSound(power) && controlsLose(power);
}

// Print the first report before the second part starts: each part may take half an hour.
const networkReport = parts.includes('network') ? await network() : null;
if (networkReport) {
  process.stdout.write(`${table(networkReport)}\n`);
  if (networkReport.network !== 'network namespace')
    process.stdout.write(
      'not run: packet loss and bandwidth limits, which need root and network namespaces\n',
    );
}
const runsPower = parts.includes('power') && canCutPower();
const report: Report = {
  network: networkReport,
  power: runsPower ? await power() : [],
  notRun: parts.includes('power') && !runsPower ? ['power cuts: needs root, loop devices, ext4 and XFS'] : [],
};
if (report.power.length > 0) process.stdout.write(`\n${powerTable(report.power)}\n`);
for (const part of report.notRun) process.stdout.write(`not run: ${part}\n`);
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(report, null, 2));
process.exit(isClean(report) ? 0 : 1);
