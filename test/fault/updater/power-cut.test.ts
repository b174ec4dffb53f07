import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { UpdateTortureReport } from '../../../scripts/update-torture/torture.ts';
import { canCutPower } from '../../../scripts/torture/power/disk.ts';

const MAIN = join(import.meta.dirname, '../../../scripts/update-torture/main.ts');
const CUTS = 20;

describe.skipIf(!canCutPower())('(root only) power cuts during updates of the agent (short run)', () => {
  it('always lead to a version that works, and never to a banned one', () => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [MAIN, '--cuts', String(CUTS)], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    const { cuts, faults, starts } = JSON.parse(stdout) as UpdateTortureReport;
    expect({ cuts, faults }, stderr).toEqual({ cuts: CUTS, faults: [] });
    expect(starts).toBeGreaterThan(CUTS);
  }, 240_000);
});
