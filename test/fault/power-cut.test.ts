import { beforeAll, describe, expect, it } from 'vitest';
import type { CutsReport } from '../../scripts/torture/power/cuts.ts';
import { canCutPower } from '../../scripts/torture/power/disk.ts';
import type { Level } from '../../scripts/torture/power/writer.ts';
import { runTorture, type TortureRun } from '../fixtures/torture.ts';

const CUTS = 10;

describe.skipIf(!canCutPower())('(root only) power cuts while records are stored (short run)', () => {
  let run: TortureRun;
  const reportOf = (level: Level): CutsReport => run.report.power.find((report) => report.level === level)!;

  beforeAll(async () => {
    run = await runTorture(['--only', 'power', '--power-cuts', String(CUTS)]);
  }, 240_000);

  it('loses no committed record, deletes no unacknowledged message and repeats no number', () => {
    const { copies, shutdowns, atStake, ...faults } = reportOf('FULL');
    expect(copies + shutdowns, run.output).toBe(CUTS);
    expect(atStake).toBeGreaterThan(CUTS * 20);
    expect(faults, run.output).toEqual({
      level: 'FULL',
      lost: 0,
      losingCuts: 0,
      deletedUnacknowledged: 0,
      brokenDatabases: 0,
      repeatedNumbers: 0,
    });
    expect(run.code).toBe(0);
  });

  it.each(['NORMAL', 'OFF'] as const)(
    'loses records with synchronous = %s, which proves that the cuts work',
    (level) => {
      expect(reportOf(level).losingCuts, run.output).toBeGreaterThan(0);
      expect(reportOf(level).lost).toBeGreaterThan(0);
    },
  );
});
