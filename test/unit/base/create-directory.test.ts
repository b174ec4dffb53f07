import { spawnSync } from 'node:child_process';
import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDirectory } from '../../../src/base/create-directory.ts';
import { tempDir } from '../../fixtures/store.ts';

describe('createDirectory', () => {
  let dir: ReturnType<typeof tempDir>;
  beforeEach(() => (dir = tempDir()));
  afterEach(() => dir.remove());

  it('creates missing directories for owner and group only, and accepts existing ones', () => {
    const path = join(dir.path, 'a/b');
    createDirectory(path);
    createDirectory(path);
    expect(statSync(path).isDirectory()).toBe(true);
    expect(statSync(path).mode & 0o007).toBe(0);
  });

  it('throws for a file, a directory below a file and a broken link', () => {
    const file = join(dir.path, 'file');
    const link = join(dir.path, 'link');
    writeFileSync(file, '');
    symlinkSync(join(dir.path, 'unmounted'), link);
    expect(() => createDirectory(file)).toThrow('EEXIST');
    expect(() => createDirectory(join(file, 'sub'))).toThrow('ENOTDIR');
    expect(() => createDirectory(join(link, 'var'))).toThrow('EEXIST');
  });

  it.runIf(process.platform === 'linux')('throws below a directory that accepts no entries', () => {
    // In a child process, because the fault was an endless loop.
    const module = new URL('../../../src/base/create-directory.ts', import.meta.url).href;
    const script = `(await import('${module}')).createDirectory('/proc/swellsight/var')`;
    const ended = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      timeout: 20_000,
      killSignal: 'SIGKILL',
      encoding: 'utf8',
    });
    expect(ended.status).toBe(1);
    expect(ended.stderr).toContain('ENOENT');
  });
});
