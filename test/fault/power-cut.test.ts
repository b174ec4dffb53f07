import { beforeAll, describe, expect, it } from 'vitest';
import type { CutsReport } from '../../scripts/torture/power/cuts.ts';
import { canCutPower } from '../../scripts/torture/power/disk.ts';
import type { Level } from '../../scripts/torture/power/writer.ts';
import { torture, type TortureRun } from '../fixtures/torture.ts';

const CUTS = 10;

describe.skipIf(!canCutPower())('(root only) power cuts while records are stored, in short', () => {
  let run: TortureRun;
  const of = (level: Level): CutsReport => run.report.power.find((report) => report.level === level)!;

  beforeAll(async () => {
    run = await torture(['--only', 'power', '--power-cuts', String(CUTS)]);
  }, 240_000);

  it('no record is lost whose commit had returned, none leaves the outbox early, no number comes twice', () => {
    const { copies, shutdowns, atStake, ...faults } = of('FULL');
    expect(copies + shutdowns, run.said).toBe(CUTS);
    expect(atStake).toBeGreaterThan(CUTS * 20);
    expect(faults, run.said).toEqual({
      level: 'FULL',
      lost: 0,
      losingCuts: 0,
      deletedUnacknowledged: 0,
      brokenDatabases: 0,
      repeatedNumbers: 0,
    });
    expect(run.code).toBe(0);
  });

  it.each(['NORMAL', 'OFF'] as const)('the same cuts take records from synchronous = %s', (level) => {
    expect(of(level).losingCuts, run.said).toBeGreaterThan(0);
    expect(of(level).lost).toBeGreaterThan(0);
  });
});
