import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { budgetRow, type Row } from './table.ts';
import type { Written } from './written-process.ts';

const DAY_MINUTES = 1440;
/** Time before the measured day: as long as records and bursts are kept, so that the day deletes what it adds. */
const BEFORE_DAYS = 14;
const MB = 2 ** 20;
/** Source: statfs(2). */
const TMPFS_MAGIC = 0x01021994;

/** Why the bytes written to the disk cannot be measured here; null when they can. */
export function whyNotMeasurable(): string | null {
  if (!existsSync('/proc/self/io')) return 'this kernel does not count the bytes that a process writes';
  if (statfsSync(tmpdir()).type === TMPFS_MAGIC)
    return `${tmpdir()} is in memory: set TMPDIR to a directory on a disk`;
  return null;
}

/** Runs the measurement in a process of its own. `beforeMinutes` are stored first, and not measured. */
export async function runWritten(beforeMinutes: number, minutes: number): Promise<Written> {
  const [dir, scratch] = [tmpdir(), existsSync('/dev/shm') ? '/dev/shm' : tmpdir()].map((parent) =>
    mkdtempSync(join(parent, 'swellsight-written-')),
  ) as [string, string];
  try {
    const args = { dir, scratch, before: beforeMinutes, minutes };
    const child = spawn(
      process.execPath,
      [
        join(import.meta.dirname, 'written-process.ts'),
        ...Object.entries(args).map(([name, value]) => `--${name}=${value}`),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    return JSON.parse(await text(child.stdout)) as Written;
  } finally {
    for (const each of [dir, scratch]) rmSync(each, { recursive: true, force: true });
  }
}

/** What 24 hours with one observation a minute write to the disk, and how much each record occupies. */
export async function measureWritten(): Promise<readonly Row[]> {
  const reason = whyNotMeasurable();
  if (reason !== null) {
    process.stderr.write(`not measured: ${reason}\n`);
    return [];
  }
  const { parts, storedBytes } = await runWritten(BEFORE_DAYS * DAY_MINUTES, DAY_MINUTES);
  const total = Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
  const name = 'written to disk in 24 hours at one observation a minute';
  return [
    budgetRow(name, 'MB', [total / MB], 60),
    ...Object.entries(parts).map(([part, bytes]) => budgetRow(`${name}: ${part}`, 'MB', [bytes / MB], null)),
    budgetRow('growth of the database for each record', 'KB', [storedBytes / 1024], null),
  ];
}
