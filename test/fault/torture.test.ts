import { beforeAll, describe, expect, it } from 'vitest';
import { canMakeNamespace } from '../../scripts/torture/network.ts';
import { PLANTS } from '../../scripts/torture/planted.ts';
import type { TortureReport, TargetReport } from '../../scripts/torture/types.ts';
import { runTorture } from '../fixtures/torture.ts';

const BRIEF = '--brief --kills 3 --partitions 3 --observations 100 --minutes 6 --cameras 6'.split(' ');
const PLANTED = PLANTS.flatMap((plant) => ['--plant', plant]);

describe('torture (short run): SIGKILL, partitions, broker kills', () => {
  let code: number | null;
  let output: string;
  let report: TortureReport;
  const target = (name: string): TargetReport => report.targets.find((one) => one.name === name)!;

  beforeAll(async () => {
    const run = await runTorture(['--only', 'network', ...BRIEF, ...PLANTED]);
    ({ code, output } = run);
    report = run.report.network!;
  }, 540_000);

  it.each(['agent', 'device'])(
    'the %s loses, changes and reorders nothing, and its database is intact',
    (name) => {
      const { faults, kills, checks, verdict, deletedUnacknowledged } = target(name);
      expect(faults, output).toEqual([]);
      expect(kills).toBeGreaterThanOrEqual(3);
      expect(checks).toBeGreaterThan(kills / 2);
      expect(deletedUnacknowledged).toBe(0);
      expect(verdict.live + verdict.backfill).toBe(verdict.observations);
      expect(verdict.live).toBeGreaterThan(0);
      expect(verdict.backfill).toBeGreaterThan(0);
    },
  );

  it('kills the broker and partitions the network', () => {
    expect(target('device').verdict.live, output).toBeGreaterThan(0);
    expect(target('device').verdict.backfill).toBeGreaterThan(0);
    expect(report.brokerKills + report.brokerStops, output).toBeGreaterThan(0);
    expect(report.counts.partitions).toBeGreaterThanOrEqual(3);
    expect(report.missed).toEqual([]);
    expect(code, output).toBe(0);
  });

  it('detects a device that deletes before the acknowledgement', () => {
    const { deletedUnacknowledged, verdict } = target('ack-early');
    expect(deletedUnacknowledged, output).toBeGreaterThan(0);
    expect(verdict.changed).toEqual([]);
  });

  it('detects reordered messages', () => {
    expect(target('shuffle').verdict.outOfOrder.length, output).toBeGreaterThan(0);
  });

  it('detects a changed field', () => {
    expect(target('alter').verdict.changed.length, output).toBeGreaterThan(0);
  });

  it('detects a lost message', () => {
    expect(target('skip').verdict.lostByDevice.length, output).toBeGreaterThan(0);
  });

  it.skipIf(!canMakeNamespace())(
    '(root only) runs in a network namespace, with real packet loss, bandwidth limits and link failures',
    () => {
      expect(report.network).toBe('network namespace');
    },
  );
});
