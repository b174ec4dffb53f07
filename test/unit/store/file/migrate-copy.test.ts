import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { expect, it, onTestFinished } from 'vitest';
import { migrateCopy } from '../../../../src/store/file/migrate-copy.ts';
import { tempDir } from '../../../fixtures/store.ts';

const LOOP = fileURLToPath(new URL('../../../fixtures/append-loop.ts', import.meta.url));

it('copies the database of a process that stores records as fast as it can: all that it has stored before', async () => {
  const state = tempDir();
  const child = spawn(process.execPath, [LOOP, state.path], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await once(child, 'close');
    state.remove();
  });
  let stored = 0;
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stored += text.split('\n').length - 1));
  for (let round = 0; round < 4; round += 1) {
    // The log begins anew in between.
    for (const enough = stored + 300; stored < enough;) await delay(20);
    const before = stored;
    const copy = tempDir();
    migrateCopy(state.path, copy.path);
    const db = new Database(join(copy.path, 'swellsight.db'));
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
    const counts = ['observations', 'sea_states'].map((table) =>
      Number(db.prepare(`SELECT count(*) FROM ${table}`).pluck().get()),
    );
    expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBeGreaterThanOrEqual(before);
    db.close();
    copy.remove();
  }
}, 120_000);
