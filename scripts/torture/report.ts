import type { TortureReport, VictimReport } from './torture.ts';

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
    row('out of order', ({ verdict }) => verdict.outOfOrder.length),
    row('faults in all', ({ faults }) => faults.length),
  ];
  const widths = head.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  const lines = rows.map((cells) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  '),
  );
  return [
    `seed ${report.seed}, ${report.network}, ${report.broker} broker, ${report.seconds} s and ${report.drainSeconds} s of calm`,
    `${counts.partitions} partitions (${counts.longPartitions} longer than the keepalive), ${counts.storms} storms`,
    `broker killed ${report.brokerKills} times and stopped ${report.brokerStops} times, saved ${report.brokerSaves} times`,
    `${report.deviceConnections} connections of devices, ${report.subscriberConnections} of the subscriber`,
    '',
    ...lines,
    ...victims.flatMap(({ name, faults }) => faults.map((fault) => `${name}: ${fault}`)),
    ...report.missed.map((what) => `not reached: ${what}`),
  ].join('\n');
}
