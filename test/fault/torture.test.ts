import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { canMakeNamespace } from '../../scripts/torture/network.ts';
import { PLANTS } from '../../scripts/torture/planted.ts';
import type { TortureReport, VictimReport } from '../../scripts/torture/torture.ts';

const MAIN = join(import.meta.dirname, '../../scripts/torture/main.ts');
const BRIEF = [
  '--brief',
  '--kills',
  '16',
  '--agent-kills',
  '4',
  '--partitions',
  '5',
  '--observations',
  '300',
];
const PLANTED = PLANTS.flatMap((plant) => ['--plant', plant]);

/** The program of `npm run torture`, in short. */
async function torture(
  args: readonly string[],
): Promise<{ code: number; said: string; report: TortureReport }> {
  const dir = mkdtempSync(join(tmpdir(), 'swellsight-torture-test-'));
  const json = join(dir, 'report.json');
  try {
    const child = spawn(process.execPath, [MAIN, ...args, '--json', json], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += String(text)));
    const [code] = (await once(child, 'close')) as [number];
    return { code, said, report: JSON.parse(readFileSync(json, 'utf8')) as TortureReport };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

describe('torture, in short: SIGKILL, partitions, a broker that is killed', () => {
  let code: number;
  let said: string;
  let report: TortureReport;
  const victim = (name: string): VictimReport => report.victims.find((one) => one.name === name)!;

  beforeAll(async () => {
    ({ code, said, report } = await torture([...BRIEF, '--minutes', '3', '--cameras', '12', ...PLANTED]));
  }, 300_000);

  it.each(['agent', 'device'])(
    'the %s loses, changes and reorders nothing, and its database is whole',
    (name) => {
      const { faults, kills, checks, verdict, deletedUnacknowledged } = victim(name);
      expect(faults, said).toEqual([]);
      expect(kills).toBeGreaterThanOrEqual(4);
      expect(checks).toBeGreaterThanOrEqual(kills - 1);
      expect(deletedUnacknowledged).toBe(0);
      expect(verdict.live + verdict.backfill).toBe(verdict.observations);
      expect(verdict.live).toBeGreaterThan(0);
      expect(verdict.backfill).toBeGreaterThan(0);
    },
  );

  it('the broker was killed and the links were cut', () => {
    expect(report.brokerKills + report.brokerStops, said).toBeGreaterThan(0);
    expect(report.counts.partitions).toBeGreaterThanOrEqual(5);
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
