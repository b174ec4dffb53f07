import { controlsLose, isSound, type CutsReport } from './power/cuts.ts';
import type { TortureReport, TargetReport } from './types.ts';

/** Formats the report of the network part as a table. */
export function table(report: TortureReport): string {
  const { counts, targets } = report;
  const head = ['', ...targets.map(({ name }) => name)];
  const row = (name: string, of: (target: TargetReport) => number): string[] => [
    name,
    ...targets.map((target) => String(of(target))),
  ];
  const rows = [
    head,
    row('kills (SIGKILL)', ({ kills }) => kills),
    row('integrity checks', ({ checks }) => checks),
    row('observations stored', ({ verdict }) => verdict.observations),
    row('events stored', ({ verdict }) => verdict.events),
    row('messages received', ({ verdict }) => verdict.received),
    row('  of these, duplicates', ({ verdict }) => verdict.duplicates),
    row('  first seen live', ({ verdict }) => verdict.live),
    row('  first seen as backfill', ({ verdict }) => verdict.backfill),
    row('lost by the device', ({ verdict }) => verdict.lostByDevice.length),
    row('deleted unacknowledged', ({ deletedUnacknowledged }) => deletedUnacknowledged),
    row('lost by the broker', ({ verdict }) => verdict.lostByBroker.length),
    row('changed', ({ verdict }) => verdict.changed.length),
    row('sent out of order', ({ sentOutOfOrder }) => sentOutOfOrder.length),
    row('out of order', ({ verdict }) => verdict.outOfOrder.length),
    row('faults in total', ({ faults }) => faults.length),
  ];
  const lines = aligned(rows);
  return [
    `seed ${report.seed}, ${report.network}, ${report.broker} broker, ${report.seconds} s and ${report.drainSeconds} s of draining`,
    `${counts.partitions} partitions (${counts.longPartitions} longer than the keepalive), ${counts.impairments} impairments`,
    `broker killed ${report.brokerKills} times and stopped ${report.brokerStops} times, saved ${report.brokerSaves} times`,
    `${report.deviceConnections} connections of devices, ${report.subscriberConnections} of the subscriber, whose session was forgotten ${report.sessionsForgotten} times`,
    '',
    ...lines,
    ...targets.flatMap(({ name, faults }) => faults.map((fault) => `${name}: ${fault}`)),
    ...report.missed.map((goal) => `not reached: ${goal}`),
  ].join('\n');
}

/** Formats the reports of the power cuts as a table. */
export function powerTable(reports: readonly CutsReport[]): string {
  const row = (name: string, of: (report: CutsReport) => number): string[] => [
    name,
    ...reports.map((report) => String(of(report))),
  ];
  const lines = aligned([
    [
      'synchronous',
      ...reports.map(({ level }) => (level === 'FULL' ? 'FULL (the store)' : `${level} (control)`)),
    ],
    row('cuts: copies of the disk', ({ copies }) => copies),
    row('cuts: the disk itself', ({ shutdowns }) => shutdowns),
    row('commits that had returned', ({ atStake }) => atStake),
    row('of these lost', ({ lost }) => lost),
    row('cuts that lost any', ({ losingCuts }) => losingCuts),
    row('deleted unacknowledged', ({ deletedUnacknowledged }) => deletedUnacknowledged),
    row('databases damaged or replaced', ({ brokenDatabases }) => brokenDatabases),
    row('repeated numbers', ({ repeatedNumbers }) => repeatedNumbers),
  ]);
  const faults = [
    ...(isSound(reports) ? [] : ['the store lost records in a power cut']),
    ...(controlsLose(reports) ? [] : ['a weaker setting lost nothing, so the cuts prove nothing']),
  ];
  return [...lines, ...faults].join('\n');
}

function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const width = (column: number): number => Math.max(...rows.map((cells) => cells[column]?.length ?? 0));
  return rows.map((cells) =>
    cells.map((cell, n) => (n === 0 ? cell.padEnd(width(n)) : cell.padStart(width(n)))).join('  '),
  );
}
