import { controlsLose, isSound, type CutsReport } from './power/cuts.ts';
import type { TortureReport, VictimReport } from './types.ts';

/** The outcome as text. */
export function table(report: TortureReport): string {
  const { counts, victims } = report;
  const head = ['', ...victims.map(({ name }) => name)];
  const row = (name: string, of: (victim: VictimReport) => number): string[] => [
    name,
    ...victims.map((victim) => String(of(victim))),
  ];
  const rows = [
    head,
    row('kills (SIGKILL)', ({ kills }) => kills),
    row('integrity checks', ({ checks }) => checks),
    row('observations stored', ({ verdict }) => verdict.observations),
    row('events stored', ({ verdict }) => verdict.events),
    row('messages received', ({ verdict }) => verdict.received),
    row('  of these again', ({ verdict }) => verdict.duplicates),
    row('  first seen live', ({ verdict }) => verdict.live),
    row('  first seen as backfill', ({ verdict }) => verdict.backfill),
    row('lost by the device', ({ verdict }) => verdict.lostByDevice.length),
    row('deleted unacknowledged', ({ deletedUnacknowledged }) => deletedUnacknowledged),
    row('lost by the broker', ({ verdict }) => verdict.lostByBroker.length),
    row('changed', ({ verdict }) => verdict.changed.length),
    row('sent out of order', ({ sentOutOfOrder }) => sentOutOfOrder.length),
    row('out of order', ({ verdict }) => verdict.outOfOrder.length),
    row('faults in all', ({ faults }) => faults.length),
  ];
  const lines = aligned(rows);
  return [
    `seed ${report.seed}, ${report.network}, ${report.broker} broker, ${report.seconds} s and ${report.drainSeconds} s of calm`,
    `${counts.partitions} partitions (${counts.longPartitions} longer than the keepalive), ${counts.storms} storms`,
    `broker killed ${report.brokerKills} times and stopped ${report.brokerStops} times, saved ${report.brokerSaves} times`,
    `${report.deviceConnections} connections of devices, ${report.subscriberConnections} of the subscriber, whose session was forgotten ${report.sessionsForgotten} times`,
    '',
    ...lines,
    ...victims.flatMap(({ name, faults }) => faults.map((fault) => `${name}: ${fault}`)),
    ...report.missed.map((what) => `not reached: ${what}`),
  ].join('\n');
}

/** The outcome of the power cuts as text. */
export function powerTable(reports: readonly CutsReport[]): string {
  const row = (name: string, of: (report: CutsReport) => number): string[] => [
    name,
    ...reports.map((report) => String(of(report))),
  ];
  const lines = aligned([
    ['synchronous', ...reports.map(({ level }) => (level === 'FULL' ? 'FULL (ours)' : `${level} (control)`))],
    row('cuts: copies of the disk', ({ copies }) => copies),
    row('cuts: the disk itself', ({ shutdowns }) => shutdowns),
    row('commits that had returned', ({ atStake }) => atStake),
    row('of these lost', ({ lost }) => lost),
    row('cuts that lost any', ({ losingCuts }) => losingCuts),
    row('deleted unacknowledged', ({ deletedUnacknowledged }) => deletedUnacknowledged),
    row('databases broken or begun anew', ({ brokenDatabases }) => brokenDatabases),
    row('numbers given out again', ({ repeatedNumbers }) => repeatedNumbers),
  ]);
  const faults = [
    ...(isSound(reports) ? [] : ['the store lost in a power cut']),
    ...(controlsLose(reports) ? [] : ['a weaker setting lost nothing: the cuts prove nothing']),
  ];
  return [...lines, ...faults].join('\n');
}

function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const width = (column: number): number => Math.max(...rows.map((cells) => cells[column]?.length ?? 0));
  return rows.map((cells) =>
    cells.map((cell, n) => (n === 0 ? cell.padEnd(width(n)) : cell.padStart(width(n)))).join('  '),
  );
}
