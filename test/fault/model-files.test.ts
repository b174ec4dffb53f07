import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../src/base/log.ts';
import { packBundle } from '../../src/model/archive/pack.ts';
import { unpackArchive } from '../../src/model/archive/unpack.ts';
import { SlotStore } from '../../src/model/slots/slot-store.ts';
import type { SlotRef } from '../../src/model/types.ts';
import { factoryBundleDir } from '../fixtures/bundles.ts';
import { canMountLoop, LoopDisk } from '../fixtures/loop-disk.ts';

const log = createLog('silent');
const slot = (version: string): SlotRef => ({
  name: 'heads',
  version,
  digest: `sha256:${'a'.repeat(64)}`,
  trusted: true,
});
const limits = { maxBytes: 64 * 1024 * 1024, maxFiles: 64, layout: 'bundle' } as const;

describe.skipIf(!canMountLoop())('model files on a full disk', () => {
  let disk: LoopDisk;
  let outside: string;
  beforeEach(() => {
    disk = new LoopDisk(12);
    outside = mkdtempSync(join(tmpdir(), 'model-files-'));
  });
  afterEach(() => {
    disk.remove();
    rmSync(outside, { recursive: true, force: true });
  });

  it('removes a partly unpacked archive that does not fit and rejects with model_space', async () => {
    const file = join(outside, 'bundle.tar');
    await packBundle(factoryBundleDir, file);
    disk.fill(2 * 1024 * 1024);
    const before = readdirSync(disk.mount);
    const freeBytes = disk.freeBytes;
    const into = join(disk.mount, 'staging');
    await expect(unpackArchive(file, into, limits)).rejects.toMatchObject({ code: 'model_space' });
    expect(readdirSync(disk.mount)).toEqual(before);
    expect(disk.freeBytes).toBeGreaterThan(freeBytes - 64 * 1024);
    disk.free();
    await unpackArchive(file, into, limits);
    expect(readdirSync(into)).toContain('model.json');
  });

  it('removes a partly packed archive that does not fit', async () => {
    const dir = join(outside, 'bundle');
    cpSync(factoryBundleDir, dir, { recursive: true });
    disk.fill(1024 * 1024);
    const before = readdirSync(disk.mount);
    await expect(packBundle(dir, join(disk.mount, 'bundle.tar'))).rejects.toMatchObject({
      code: 'model_space',
    });
    expect(readdirSync(disk.mount)).toEqual(before);
  });

  it('updates existing slots on a full disk, so that a failed model can be rolled back', () => {
    const dir = join(disk.mount, 'models');
    const store = SlotStore.open(dir, { log });
    store.update((state) => ({ ...state, active: slot('1.0.0') }));
    disk.fill();
    store.update((state) => ({ ...state, active: slot('1.0.1'), previous: slot('1.0.0') }));
    const again = SlotStore.open(dir, { log });
    expect(again.damaged).toBeNull();
    expect(again.state).toMatchObject({ active: slot('1.0.1'), previous: slot('1.0.0') });
    expect(readdirSync(dir)).toEqual(['slots.json']);
  });

  it('throws model_space for the first update on a full disk and succeeds when there is room', () => {
    const dir = join(disk.mount, 'models');
    disk.fill();
    const store = SlotStore.open(dir, { log });
    const begin = (): unknown => store.update((state) => ({ ...state, active: slot('1.0.0') }));
    expect(begin).toThrow(expect.objectContaining({ code: 'model_space' }) as Error);
    expect(store.state.active).toBeNull();
    disk.free();
    begin();
    expect(SlotStore.open(dir, { log }).state.active).toEqual(slot('1.0.0'));
  });
});

describe('SlotStore under SIGKILL', () => {
  it('keeps the state before or after the change, in twelve kills', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'slots-kill-'));
    try {
      let last = -1;
      for (let time = 0; time < 12; time++) {
        const entry = join(import.meta.dirname, '..', 'fixtures', 'slots-loop.ts');
        const child = spawn(process.execPath, [entry, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
        let output = '';
        child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
        while (!output.includes('1.0.0\n')) await delay(5);
        await delay(Math.random() * 60);
        child.kill('SIGKILL');
        await once(child, 'close');
        const { state, damaged } = SlotStore.open(dir, { log });
        expect(damaged).toBeNull();
        const done = Number(/1\.0\.(\d+)\n[^\n]*$/.exec(output)?.[1]);
        last = Number(state.active?.version.split('.')[2]);
        // The last version that the process printed is stored, or the next one, which it had no time to print.
        expect([done, done + 1]).toContain(last);
        if (last > 0) expect(state.previous?.version).toBe(`1.0.${String(last - 1)}`);
        expect(readFileSync(join(dir, 'slots.json')).length % (16 * 1024)).toBe(0);
      }
      expect(last).toBeGreaterThanOrEqual(0);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
