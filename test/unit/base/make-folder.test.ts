import { spawnSync } from 'node:child_process';
import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeFolder } from '../../../src/base/make-folder.ts';
import { tempDir } from '../../fixtures/store.ts';

describe('makeFolder', () => {
  let dir: ReturnType<typeof tempDir>;
  beforeEach(() => (dir = tempDir()));
  afterEach(() => dir.remove());

  it('makes what is missing, for its owner and group only, and takes what is there', () => {
    const path = join(dir.path, 'a/b');
    makeFolder(path);
    makeFolder(path);
    expect(statSync(path).isDirectory()).toBe(true);
    expect(statSync(path).mode & 0o007).toBe(0);
  });

  it('refuses a file, a folder under a file, and a link to nothing', () => {
    const file = join(dir.path, 'file');
    const link = join(dir.path, 'link');
    writeFileSync(file, '');
    symlinkSync(join(dir.path, 'unmounted'), link);
    expect(() => makeFolder(file)).toThrow('EEXIST');
    expect(() => makeFolder(join(file, 'sub'))).toThrow('ENOTDIR');
    expect(() => makeFolder(join(link, 'var'))).toThrow('EEXIST');
  });

  it.runIf(process.platform === 'linux')('ends where the parent takes no folder', () => {
    // In a process of its own: the fault was a loop that nothing but a kill could end.
    const module = new URL('../../../src/base/make-folder.ts', import.meta.url).href;
    const script = `(await import('${module}')).makeFolder('/proc/swellsight/var')`;
    const ended = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      timeout: 20_000,
      killSignal: 'SIGKILL',
      encoding: 'utf8',
    });
    expect(ended.status).toBe(1);
    expect(ended.stderr).toContain('ENOENT');
  });
});
