import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUNDLES } from '../../fixtures/repository.ts';
import { runCli, type CliResult } from '../../fixtures/cli.ts';

let home = '';
const env = { SWELLSIGHT_REPO_PASSPHRASE_FILE: 'passphrase' };
const repo = (...args: string[]): Promise<CliResult> => runCli(['repo', ...args], { cwd: home, env });

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'swellsight-cli-repo-'));
  await writeFile(join(home, 'passphrase'), 'open sesame\n');
  const created = await repo('init', 'surf', '--count', 'targets=2', '--threshold', 'targets=2', '--expires', 'timestamp=0.5', '--json'); // prettier-ignore
  expect(created.json()).toMatchObject({
    trust_root: join(home, 'surf/metadata/1.root.json'),
    encrypted: true,
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

describe('swellsight repo', () => {
  it('publishes, lists, exports and verifies, in JSON', async () => {
    const published = await repo('publish', 'surf', join(BUNDLES, 'heads'), '--json');
    const { models, expires } = published.json() as { models: unknown; expires: { timestamp: string } };
    expect(models).toMatchObject([{ name: 'heads', version: '1.0.0', outcome: 'published' }]);
    expect(Date.parse(expires.timestamp) - Date.now()).toBeLessThan(86_400_000 / 2);
    const { keys } = (await repo('keys', 'surf', '--json')).json() as {
      keys: { role: string; threshold: number }[];
    };
    expect(keys.filter(({ role }) => role === 'targets')).toMatchObject([{ threshold: 2 }, { threshold: 2 }]);
    const [key = ''] = (await readdir(join(home, 'surf-keys'))).filter((name) => name.endsWith('.pem'));
    expect(await readFile(join(home, 'surf-keys', key), 'utf8')).toContain('ENCRYPTED');
    const exported = await repo('export', 'surf', 'heads', '1.0.0', '--out', 'heads.tar', '--json');
    expect(exported.json()).toMatchObject({ file: join(home, 'heads.tar'), bundle: { name: 'heads' } });
    const verified = await repo('verify', 'surf', '--json');
    expect([verified.code, verified.json()]).toMatchObject([0, { models: [{ name: 'heads', fault: null }] }]);
  });

  it('publishes only a bundle that runs, unless told not to test it', async () => {
    const wrong = join(BUNDLES, 'wrong-golden');
    const tested = await repo('publish', 'surf', wrong);
    expect([tested.code, tested.stderr]).toEqual([1, expect.stringContaining('is not published')]);
    expect(tested.stderr).toContain('--no-test');
    const verified = await repo('verify', 'surf');
    expect(verified.stdout).not.toContain('wrong-golden');
    expect((await repo('publish', 'surf', wrong, '--no-test')).stdout).toMatch(/^published {2}wrong-golden/);
  });

  it('prints its changes, and when to sign again', async () => {
    const rotated = await repo('rotate', 'surf', 'timestamp');
    expect(rotated.stdout).toMatch(
      /root \d+, valid until .*\n\+ timestamp {2}[0-9a-f]{16}\n- timestamp {2}[0-9a-f]{16}\n/,
    );
    expect((await repo('publish', 'surf', '--timestamp-only')).stdout).toMatch(
      /^signed; sign a new timestamp before/,
    );
    expect((await repo('keys', 'surf')).stdout).toMatch(/^root +2 of 3 +[0-9a-f]{16} +\//);
  });

  it.each([
    [['init', 'other', '--keys', 'other/keys'], 2, 'must not be inside the published directory'],
    [['publish', 'surf', 'nowhere'], 1, 'nowhere does not exist'],
    [['keys', 'surf', '--revoke', '00'], 2, 'matches 0 keys'],
    [['verify', 'nowhere'], 1, 'is not a repository'],
  ])('rejects %j', async (args, code, text) => {
    const done = await repo(...args);
    expect([done.code, done.stderr]).toEqual([code, expect.stringContaining(text)]);
  });
});
