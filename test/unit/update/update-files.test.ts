import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runningVersion, isRunning } from '../../../src/update/types.ts';
import { digestOf, NEW, OLD, UpdateBench, updaterState } from '../../fixtures/updates.ts';

describe('UpdateFiles.readState', () => {
  const put = (bench: UpdateBench, text: string): void =>
    writeFileSync(join(bench.updaterDir, 'state.json'), text);

  it('accepts properties of a newer updater', () => {
    const bench = new UpdateBench();
    put(bench, JSON.stringify({ ...updaterState(), mood: 'good' }));
    expect(bench.files.readState()).toMatchObject({ running: OLD });
  });

  it.each([
    ['text that is not JSON', '{'],
    ['another format', JSON.stringify({ ...updaterState(), format: 2 })],
    ['a wrong digest', JSON.stringify(updaterState({ running: { version: '1.0.0', digest: '../..' } }))],
    ['a file that is too large', JSON.stringify(updaterState()).padEnd(70_000)],
  ])('returns null for %s', (_what, text) => {
    const bench = new UpdateBench();
    put(bench, text);
    expect(bench.files.readState()).toBeNull();
  });

  it('does not follow a link', () => {
    const bench = new UpdateBench();
    const elsewhere = join(bench.stateDir, 'elsewhere.json');
    writeFileSync(elsewhere, JSON.stringify(updaterState()));
    const path = join(bench.updaterDir, 'other');
    mkdirSync(path);
    symlinkSync(elsewhere, join(path, 'state.json'));
    const files = new (bench.files.constructor as new (options: object) => typeof bench.files)({
      stateDir: bench.stateDir,
      updaterDir: path,
    });
    expect(files.readState()).toBeNull();
  });
});

describe('UpdateFiles.removeArchives', () => {
  it('removes archives and metadata, and nothing else', async () => {
    const bench = new UpdateBench();
    const { dir } = bench.files;
    mkdirSync(join(dir, 'metadata'), { recursive: true });
    for (const name of [`${NEW.digest}.tar.gz`, 'update.json', 'request.json', 'notes.tar.gz'])
      writeFileSync(join(dir, name), '{}');
    await bench.files.removeArchives();
    expect(readdirSync(dir).sort()).toEqual(['notes.tar.gz', 'request.json', 'update.json']);
  });
});

describe('runningVersion', () => {
  it('reads the digest from the name of the directory of an installed version', () => {
    const dir = `/opt/swellsight/versions/1.0.0-${'a'.repeat(12)}/`;
    const running = runningVersion('1.0.0', dir);
    expect(running).toEqual({ version: '1.0.0', digestPrefix: 'a'.repeat(12) });
    expect(isRunning(running, OLD)).toBe(true);
    expect(isRunning(running, { ...OLD, digest: digestOf('b') })).toBe(false);
    expect(isRunning(running, { ...OLD, version: '1.0.1' })).toBe(false);
  });

  it.each(['/home/ana/swellsight', '/opt/swellsight/versions/1.0.0', '/x/1.0.0-notahexvalue'])(
    'knows no digest in %s',
    (dir) => {
      expect(runningVersion('1.0.0', dir)).toEqual({ version: '1.0.0', digestPrefix: null });
    },
  );
});
