import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256Of } from '../../scripts/package/archive.ts';
import { ARCHITECTURES, hostArchitecture } from '../../scripts/package/platform.ts';
import { findForeignBinaries, listFiles } from '../../scripts/package/prune.ts';
import type { Release } from '../../scripts/package/release.ts';
import { freePort } from '../../scripts/ports.ts';
import { packagedArchive } from '../fixtures/package.ts';

const CHECKOUT = join(import.meta.dirname, '..', '..');
/** A build takes a minute, and may wait for that of another test file. */
const BUILD_TIMEOUT_MS = 600_000;
const home = mkdtempSync(join(tmpdir(), 'swellsight-package-test-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** Unpacks an archive, or returns the directory in which it was unpacked. */
function unpack(archive: string, name: string): string {
  const directory = join(home, name);
  if (existsSync(directory)) return directory;
  mkdirSync(directory);
  const { status, stderr } = spawnSync('tar', ['-xpzf', archive, '-C', directory], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return directory;
}

const readRelease = (directory: string): Release =>
  JSON.parse(readFileSync(join(directory, 'release.json'), 'utf8')) as Release;

describe.each(ARCHITECTURES)('Package for %s', (arch) => {
  let archive: string;
  let directory: string;

  beforeAll(() => {
    archive = packagedArchive(arch);
    directory = unpack(archive, arch);
  }, BUILD_TIMEOUT_MS);

  it('contains native code for this architecture alone, and no links', () => {
    expect(findForeignBinaries(directory, arch)).toEqual([]);
    for (const path of ['node/bin/node', `node_modules/better-sqlite3/prebuilds/linux-${npmName(arch)}.node`])
      expect(statSync(join(directory, path)).size).toBeGreaterThan(1e6);
  });

  it('lists each of its files in release.json with digest, size and mode', () => {
    const release = readRelease(directory);
    expect(release).toMatchObject({ format: 1, name: 'swellsight-edge', arch, glibc: '2.34' });
    expect(Object.keys(release.files)).toEqual(
      listFiles(directory).filter((path) => path !== 'release.json'),
    );
    for (const [path, { sha256, size, mode }] of Object.entries(release.files)) {
      const content = readFileSync(join(directory, path));
      const digest = createHash('sha256').update(content).digest('hex');
      expect({ path, sha256: digest, size: content.length }).toEqual({ path, sha256, size });
      expect(statSync(join(directory, path)).mode & 0o777, path).toBe(mode);
    }
    expect(release.files['node/bin/node']?.mode).toBe(0o755);
  });

  it('has its digest and its list of components beside it', async () => {
    const [digest, name] = readFileSync(`${archive}.sha256`, 'utf8').trim().split(/ +/);
    expect({ digest, name }).toEqual({ digest: await sha256Of(archive), name: basename(archive) });
    const sbom = readFileSync(archive.replace(/\.tar\.gz$/, '.cdx.json'), 'utf8');
    expect(sbom).toBe(readFileSync(join(directory, 'sbom.cdx.json'), 'utf8'));
    const { bomFormat, components } = JSON.parse(sbom) as {
      bomFormat: string;
      components: { name: string; version: string }[];
    };
    expect(bomFormat).toBe('CycloneDX');
    const names = components.map((component) => component.name);
    expect(names).toContain('onnxruntime-node');
    expect(names).toContain(`node-linux-${npmName(arch)}`);
    expect(names).not.toContain('vitest');
  });
});

describe('Package for this machine', () => {
  it(
    'is the same, byte for byte, when it is built again with another umask, time zone and directory',
    async () => {
      const archive = packagedArchive();
      const out = join(home, 'again');
      const elsewhere = join(home, 'a directory with spaces');
      mkdirSync(elsewhere);
      const { status, stderr } = spawnSync(
        'sh',
        [
          '-c',
          'umask 077; exec "$@"',
          'sh',
          process.execPath,
          join(CHECKOUT, 'scripts/package/main.ts'),
          ...['--fast', '--out', out],
        ],
        { cwd: home, encoding: 'utf8', env: { ...process.env, TMPDIR: elsewhere, TZ: 'Pacific/Auckland' } },
      );
      expect(status, stderr).toBe(0);
      expect(await sha256Of(join(out, basename(archive)))).toBe(await sha256Of(archive));
    },
    BUILD_TIMEOUT_MS,
  );

  it('contains all that the dependencies load, and what the page of the HTTP API shows', () => {
    const directory = unpack(packagedArchive(), hostArchitecture());
    const { dependencies } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    // No code: the agent serves its files.
    const names = Object.keys(dependencies).filter((name) => name !== 'swagger-ui-dist');
    const script = `for (const name of ${JSON.stringify(names)}) await import(name);`;
    const result = spawnSync(join(directory, 'node/bin/node'), ['--input-type=module', '--eval', script], {
      cwd: directory,
      env: {},
      encoding: 'utf8',
    });
    expect(result).toMatchObject({ status: 0, stderr: '' });
    for (const name of ['swagger-ui-bundle.js', 'swagger-ui.css', 'favicon-32x32.png'])
      expect(statSync(join(directory, 'node_modules/swagger-ui-dist', name)).size).toBeGreaterThan(100);
  });

  it('runs with its own Node, without the checkout, and stores an observation', async () => {
    const directory = unpack(packagedArchive(), hostArchitecture());
    const config = join(home, 'config.json');
    const port = await freePort();
    writeFileSync(
      config,
      JSON.stringify({
        stateDir: join(home, 'state'),
        http: { port },
        mqtt: { embedded: { port: 0 } },
        cameras: [
          { id: 'sim', kind: 'simulated', schedule: { everyS: 2 }, burst: { frames: 1, intervalS: 0.5 } },
        ],
      }),
    );
    const node = join(directory, 'node/bin/node');
    const command = [join(directory, 'dist/main.js'), 'run', '--config', config];
    const agent = spawn(node, command, { cwd: '/', env: {}, stdio: 'ignore' });
    try {
      const read = async (): Promise<string> =>
        fetch(`http://127.0.0.1:${port}/api/v1/observations?limit=100`).then(
          (response) => response.text(),
          () => '',
        );
      await expect.poll(read, { timeout: 60_000, interval: 500 }).toContain('"measured"');
    } finally {
      agent.kill('SIGTERM');
      await once(agent, 'exit');
    }
    const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim();
    expect(version).toBe(`v${readRelease(directory).node}`);
    expect(readRelease(directory).arch).toBe(hostArchitecture());
  });
});

function npmName(arch: string): string {
  return arch === 'amd64' ? 'x64' : arch;
}
