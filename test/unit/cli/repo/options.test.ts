import { HangUp } from '../../../../src/cli/signals.ts';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  isCount,
  isDays,
  parseRole,
  parseRoleValues,
  repositoryOptions,
} from '../../../../src/cli/repo/options.ts';
import type { Terminal } from '../../../../src/cli/terminal.ts';

const usage = expect.objectContaining({ code: 'usage' }) as Error;

describe('parseRoleValues', () => {
  it('parses role=number', () => {
    expect(parseRoleValues(['root=3', 'timestamp=0.5'], isDays)).toEqual([
      ['root', 3],
      ['timestamp', 0.5],
    ]);
  });

  it.each([
    '',
    'root',
    'root=',
    'root= ',
    '=1',
    'root=x',
    'root=1=2',
    'admin=1',
    'root=0',
    'root=-1',
    'root=1.5',
    'root=1e9',
    'root=NaN',
  ])('rejects %j as a count', (text) => {
    expect(() => parseRoleValues([text], isCount)).toThrow(usage);
  });

  it.each(['root=0', 'root=-1', 'root=1e9', 'root=Infinity'])('rejects %j as days', (text) => {
    expect(() => parseRoleValues([text], isDays)).toThrow(usage);
  });

  it('lists the roles in the error for an unknown role', () => {
    expect(() => parseRole('admin')).toThrow('root, targets, snapshot, timestamp');
  });
});

describe('repositoryOptions', () => {
  const terminal = (cwd: string, env: NodeJS.ProcessEnv = {}): Terminal => ({
    env,
    cwd,
    signal: new AbortController().signal,
    hangUp: new HangUp(),
    hasBars: false,
    out: () => undefined,
    err: () => undefined,
  });

  it('puts the keys next to the repository, and the root keys below the keys', async () => {
    const { dir, keysDir, rootKeysDirs, passphrase } = await repositoryOptions(
      'surf/',
      {},
      terminal('/home/ann'),
    );
    expect([dir, keysDir, rootKeysDirs, passphrase]).toEqual([
      '/home/ann/surf',
      '/home/ann/surf-keys',
      ['/home/ann/surf-keys/root'],
      null,
    ]);
    const several = await repositoryOptions('surf/', { rootKeys: ['/media/a', 'b'] }, terminal('/home/ann'));
    expect(several.rootKeysDirs).toEqual(['/media/a', '/home/ann/b']);
  });

  it('reads the passphrase from a file without its last line break, else from the environment', async () => {
    const home = await mkdtemp(join(tmpdir(), 'swellsight-passphrase-'));
    onTestFinished(() => rm(home, { recursive: true }));
    await writeFile(join(home, 'secret'), ' two words \r\n');
    const env = { SWELLSIGHT_REPO_PASSPHRASE: 'other' };
    const given = await repositoryOptions('surf', { passphraseFile: 'secret' }, terminal(home, env));
    expect(given.passphrase).toBe(' two words ');
    expect((await repositoryOptions('surf', {}, terminal(home, env))).passphrase).toBe('other');
    await expect(repositoryOptions('surf', { passphraseFile: 'no' }, terminal(home))).rejects.toEqual(usage);
  });
});
