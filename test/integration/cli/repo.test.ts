import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
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

  it('lets fleet push send nothing when the repository has another digest, or no such version', async () => {
    // No broker is asked: none listens at this address.
    const push = (...args: string[]): Promise<CliResult> =>
      runCli(['fleet', 'push', '--broker', 'mqtt://127.0.0.1:1', ...args], { cwd: home, env });
    const verified = (await repo('verify', 'surf', '--json')).json() as { models: { digest: string }[] };
    const digest = verified.models[0]?.digest ?? '';
    const other = `sha256:${'0'.repeat(64)}`;
    for (const source of [
      ['--repo', 'surf'],
      ['--over', 'mqtt', join(home, 'heads.tar')],
    ]) {
      const differs = await push('heads', '1.0.0', ...source, '--digest', other);
      expect([differs.code, differs.stderr]).toEqual([2, expect.stringContaining(digest)]);
      const missing = await push('heads', '9.0.0', ...source);
      expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('no heads 9.0.0')]);
    }
    const same = await push('heads', '1.0.0', '--repo', 'surf', '--digest', digest);
    expect([same.code, same.stderr]).toEqual([69, expect.stringContaining('the broker is unreachable')]);
    const agent = await push('--agent', '1.0.0', '--repo', 'surf');
    expect([agent.code, agent.stderr]).toEqual([1, expect.stringContaining('no agent 1.0.0')]);
    const typo = await push('heads', '1.0.0', '--digest', 'sha256:1');
    expect([typo.code, typo.stderr]).toEqual([2, expect.stringContaining('64 hexadecimal digits')]);
  });

  it('says what to do about a bundle of a newer format', async () => {
    const manifest = JSON.parse(await readFile(join(BUNDLES, 'heads', 'model.json'), 'utf8')) as object;
    await cp(join(BUNDLES, 'heads'), join(home, 'newer'), { recursive: true });
    await writeFile(join(home, 'newer', 'model.json'), JSON.stringify({ ...manifest, format: 2 }));
    const newer = await repo('publish', 'surf', 'newer');
    expect([newer.code, newer.stderr]).toEqual([
      1,
      expect.stringContaining('a newer version of this program'),
    ]);
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

  it('lets holders of root keys sign one after the other, with the commands of the guide', async () => {
    const page = await readFile(join(import.meta.dirname, '../../../docs/operator-guide.md'), 'utf8');
    const block = /### Signatures by post[\s\S]*?```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
    const lines = block.trim().split('\n').map((line) => line.replace(/ *#.*/, '').split(' ').slice(2)); // prettier-ignore
    const run = (line: readonly string[], ...more: string[]): Promise<CliResult> =>
      repo(...line.map((word) => (word === 'repo' ? 'surf' : word.replace(/\/media\/./, 'surf-keys/root'))), ...more); // prettier-ignore
    const [rotate = [], sign = [], , importRoot = []] = lines;
    expect([lines.length, rotate[0], sign[0], importRoot[0]]).toEqual([
      4,
      'rotate',
      'sign-root',
      'import-root',
    ]);
    const drafted = await run(rotate, '--root-keys', 'none');
    expect([drafted.code, drafted.stderr]).toEqual([0, expect.stringContaining('nothing is published yet')]);
    const early = await run(importRoot);
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('repo sign-root FILE')]);
    expect((await run(sign)).stdout).toMatch(/^root +2 of 3 +[0-9a-f]{16} +has signed$/m);
    expect((await run(importRoot)).stdout).toMatch(/^root \d+, valid until .*\n\+ targets/);
    expect((await repo('verify', 'surf')).code).toBe(0);
  });

  it.each([
    [['sign-root', 'root.json'], 2, 'name the directory of your root key'],
    [['sign-root', 'passphrase', '--root-keys', 'surf-keys/root'], 2, 'is not a root of'],
    [['init', 'two', '--count', 'root=2'], 0, 'root needs all of its 2 keys'],
    [['init', 'other', '--keys', 'other/keys'], 2, 'must not be inside the published directory'],
    [['publish', 'surf', 'nowhere'], 1, 'nowhere does not exist'],
    [['keys', 'surf', '--revoke', '00'], 2, 'matches 0 keys'],
    [['verify', 'nowhere'], 1, 'is not a repository'],
  ])('answers %j', async (args, code, text) => {
    const done = await repo(...args);
    expect([done.code, done.stderr]).toEqual([code, expect.stringContaining(text)]);
  });
});
