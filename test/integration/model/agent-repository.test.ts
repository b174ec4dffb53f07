import { appendFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { exportAgent } from '../../../src/model/repository/export.ts';
import { verifyRepository } from '../../../src/model/repository/verify.ts';
import { releaseArch } from '../../../src/model/trust/release-target.ts';
import { initTestRepository, type AgentRepository } from '../../fixtures/agent-repository.ts';
import { runCli } from '../../fixtures/cli.ts';
import { tempDir } from '../../fixtures/store.ts';
import { packFakeVersion } from '../../fixtures/updater/fake-version.ts';

const never = (): AbortSignal => new AbortController().signal;

async function setUp(): Promise<{ home: string; repository: AgentRepository }> {
  const home = tempDir();
  onTestFinished(home.remove);
  return { home: home.path, repository: await initTestRepository(home.path) };
}

describe('repo publish-agent', () => {
  it('publishes an archive under its version and architecture, once', async () => {
    const { home, repository } = await setUp();
    const { file, version } = await packFakeVersion(home, { version: '1.1.0' });
    const arch = releaseArch();
    const publish = (...args: string[]) => runCli(['repo', 'publish-agent', repository.dir, ...args]);
    const first = await publish(file, '--json');
    expect([first.code, first.json()]).toMatchObject([
      0,
      { agents: [{ version: '1.1.0', arch, digest: `sha256:${version.digest}`, outcome: 'published' }] },
    ]);
    const name = `${version.digest}.swellsight-1.1.0-${arch}.tar.gz`;
    expect(readdirSync(join(repository.dir, 'targets/agent/1.1.0'))).toEqual([name]);
    expect((await publish(file)).stdout).toMatch(new RegExp(`^unchanged {2}agent 1\\.1\\.0 ${arch} {2}`));
    const other = await packFakeVersion(home, { version: '1.1.0', files: { 'dist/more.js': '//' } });
    expect(JSON.parse((await publish(other.file, '--json')).stderr)).toMatchObject({
      error: { code: 'repo_version_taken' },
    });
    const withdrawn = await publish('--withdraw', '1.1.0');
    expect(withdrawn.stdout).toMatch(/^withdrawn {2}agent 1\.1\.0/);
    expect((await publish('--withdraw', '1.1.0')).code).toBe(2);
    expect((await publish()).code).toBe(2);
  }, 120_000);

  it.each([
    ['a file that is no archive', (path: string) => writeFileSync(path, 'no archive')],
    ['an archive without a valid release.json', null],
  ])('refuses %s', async (_what, write) => {
    const { home, repository } = await setUp();
    const { file } = await packFakeVersion(home, {
      version: '1.1.0',
      damage: (dir) => writeFileSync(join(dir, 'release.json'), '{}'),
    });
    write?.(file);
    await expect(repository.publish([file])).rejects.toMatchObject({ code: 'usage' });
    const { agents } = await verifyRepository(
      { dir: repository.dir, rootFile: null, nowMs: Date.now() },
      never(),
    );
    expect(agents).toEqual([]);
  });

  it('gives archives that repo verify checks, and that repo export-agent packs', async () => {
    const { home, repository } = await setUp();
    const { file, version } = await packFakeVersion(home, { version: '1.1.0' });
    await repository.publish([file]);
    const verify = () =>
      verifyRepository({ dir: repository.dir, rootFile: null, nowMs: Date.now() }, never());
    expect((await verify()).agents).toMatchObject([{ version: '1.1.0', arch: releaseArch(), fault: null }]);
    const out = join(home, 'export.tar');
    const exported = await exportAgent(repository.options, '1.1.0', releaseArch(), out, never());
    expect(exported.target.sha256).toBe(version.digest);
    expect(await exportAgent(repository.options, '1.1.0', releaseArch(), out, never())).toEqual(exported);
    await expect(exportAgent(repository.options, '9.9.9', releaseArch(), out, never())).rejects.toMatchObject(
      {
        code: 'model_trust_target',
      },
    );
    const dir = join(repository.dir, 'targets/agent/1.1.0');
    appendFileSync(join(dir, readdirSync(dir)[0] ?? ''), 'x');
    expect((await verify()).agents).toMatchObject([{ fault: { code: 'model_trust_mismatch' } }]);
    const shown = await runCli(['repo', 'verify', repository.dir]);
    expect([shown.code, shown.stdout]).toEqual([1, expect.stringContaining('agent 1.1.0')]);
  }, 60_000);
});
