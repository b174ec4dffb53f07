import { beforeAll, describe, expect, it } from 'vitest';
import { canMakeNamespace } from '../../scripts/torture/network.ts';
import { PLANTS } from '../../scripts/torture/planted.ts';
import type { TortureReport, VictimReport } from '../../scripts/torture/types.ts';
import { torture } from '../fixtures/torture.ts';

const BRIEF = '--brief --kills 3 --partitions 3 --observations 100 --minutes 6 --cameras 6'.split(' ');
const PLANTED = PLANTS.flatMap((plant) => ['--plant', plant]);

describe('torture, in short: SIGKILL, partitions, a broker that is killed', () => {
  let code: number | null;
  let said: string;
  let report: TortureReport;
  const victim = (name: string): VictimReport => report.victims.find((one) => one.name === name)!;

  beforeAll(async () => {
    const run = await torture(['--only', 'network', ...BRIEF, ...PLANTED]);
    ({ code, said } = run);
    report = run.report.network!;
  }, 540_000);

  it.each(['agent', 'device'])(
    'the %s loses, changes and reorders nothing, and its database is whole',
    (name) => {
      const { faults, kills, checks, verdict, deletedUnacknowledged } = victim(name);
      expect(faults, said).toEqual([]);
      expect(kills).toBeGreaterThanOrEqual(3);
      expect(checks).toBeGreaterThan(kills / 2);
      expect(deletedUnacknowledged).toBe(0);
      expect(verdict.live + verdict.backfill).toBe(verdict.observations);
      expect(verdict.live).toBeGreaterThan(0);
      expect(verdict.backfill).toBeGreaterThan(0);
    },
  );

  it('the broker was killed and the links were cut', () => {
    expect(victim('device').verdict.live, said).toBeGreaterThan(0);
    expect(victim('device').verdict.backfill).toBeGreaterThan(0);
    expect(report.brokerKills + report.brokerStops, said).toBeGreaterThan(0);
    expect(report.counts.partitions).toBeGreaterThanOrEqual(3);
    expect(report.missed).toEqual([]);
    expect(code, said).toBe(0);
  });

  it('finds a device that deletes before the acknowledgement', () => {
    const { deletedUnacknowledged, verdict } = victim('ack-early');
    expect(deletedUnacknowledged, said).toBeGreaterThan(0);
    expect(verdict.changed).toEqual([]);
  });

  it('finds messages that overtake each other', () => {
    expect(victim('shuffle').verdict.outOfOrder.length, said).toBeGreaterThan(0);
  });

  it('finds a changed field', () => {
    expect(victim('alter').verdict.changed.length, said).toBeGreaterThan(0);
  });

  it('finds a forgotten message', () => {
    expect(victim('skip').verdict.lostByDevice.length, said).toBeGreaterThan(0);
  });

  it.skipIf(!canMakeNamespace())(
    '(root only) with real loss, bandwidth and pulled cables, in a network namespace',
    () => {
      expect(report.network).toBe('network namespace');
    },
  );
});
