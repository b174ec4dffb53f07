import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { UpdaterState } from '../../../src/contract/update-files.ts';
import { Device, FACTORY } from '../../fixtures/updater/device.ts';
import { DEFAULT_EXPIRES_DAYS } from '../../../src/model/repository/init.ts';
import { packFakeVersion, PREFLIGHT_OK, type FakeVersion } from '../../fixtures/updater/fake-version.ts';
import { ReleaseRepository } from '../../fixtures/updater/releases.ts';

const NEXT = '1.1.0';
const DAY_MS = 86_400_000;

afterEach(() => vi.useRealTimers());

/** A refusal changes nothing but the result. */
function expectRefused(device: Device, state: UpdaterState, code: string, message?: RegExp): void {
  expect(state.last_result).toMatchObject({ status: 'refused', code });
  if (message) expect(state.last_result?.message).toMatch(message);
  expect(state).toMatchObject({ running: device.factory, trial: null, working: null, banned: [] });
  expect(state.installed).toEqual([device.factory]);
  expect(device.current()).toBe(FACTORY);
  expect(device.calls).toEqual([]);
  expect(readdirSync(join(device.paths.root, 'versions'))).toHaveLength(1);
  expect(readdirSync(device.paths.state).sort()).not.toContain('incoming.tar.gz');
}

async function installed(fake: Partial<FakeVersion>): Promise<{ device: Device; state: UpdaterState }> {
  const device = await Device.create();
  device.requestInstall(await device.release({ version: NEXT, ...fake }));
  return { device, state: await device.update() };
}

describe('signatures', () => {
  it('refuses metadata that the trusted root has not signed', async () => {
    const device = await Device.create();
    const archive = await device.release({ version: NEXT });
    device.requestInstall(archive);
    const other = await ReleaseRepository.create();
    await other.publish([archive]);
    other.copyMetadata(device.paths.requests);
    other.remove();
    expectRefused(device, await device.update(), 'model_trust_signature');
  });

  it('refuses an archive with other bytes than the signed ones', async () => {
    const device = await Device.create();
    const archive = await device.release({ version: NEXT });
    device.requestInstall(archive);
    const path = join(device.paths.requests, `${archive.version.digest}.tar.gz`);
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(path, bytes);
    expectRefused(device, await device.update(), 'model_trust_mismatch');
  });

  it('refuses a truncated archive', async () => {
    const device = await Device.create();
    const archive = await device.release({ version: NEXT });
    device.requestInstall(archive);
    truncateSync(join(device.paths.requests, `${archive.version.digest}.tar.gz`), 100);
    expectRefused(device, await device.update(), 'model_trust_mismatch');
  });

  it('refuses a request that names another digest than the signed one', async () => {
    const device = await Device.create();
    const first = await device.release({ version: NEXT });
    const second = await device.release({ version: '1.2.0' });
    device.requestInstall({ ...second, version: { ...second.version, version: first.version.version } });
    expectRefused(device, await device.update(), 'model_trust_mismatch');
  });

  it('refuses metadata that are older than those it has seen (replay)', async () => {
    const device = await Device.create();
    const first = await device.release({ version: NEXT });
    device.requestInstall(first);
    const old = join(device.repository.home, 'old');
    device.repository.copyMetadata(old);
    const second = await device.release({ version: '1.2.0', preflight: 'exit 1' });
    device.requestInstall(second);
    await device.update();
    device.requestInstall(first);
    rmSync(join(device.paths.requests, 'metadata'), { recursive: true });
    cpSync(join(old, 'metadata'), join(device.paths.requests, 'metadata'), { recursive: true });
    expect((await device.update()).last_result).toMatchObject({ code: 'model_trust_rollback' });
    expect(device.current()).toBe(FACTORY);
  });

  it('handles a request once, even when the agent writes it again', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT });
    device.requestRollback();
    const request = readFileSync(join(device.paths.requests, 'request.json'), 'utf8');
    await device.update();
    device.writeRequest(request);
    const calls = device.calls.length;
    await device.update();
    expect(device.calls).toHaveLength(calls);
  });
});

describe('clocks', () => {
  it('accepts metadata with an expiry date while the clock stands at 1970 and is not synchronised', async () => {
    const device = await Device.create();
    const archive = await device.release({ version: NEXT });
    device.requestInstall(archive);
    vi.useFakeTimers({ toFake: ['Date'], now: 0 });
    device.machine = { ...device.machine, syncedNowMs: () => Promise.resolve(null) };
    expect((await device.update()).trial).toMatchObject({ version: NEXT });
  });

  it('refuses expired metadata when the clock is synchronised', async () => {
    const device = await Device.create();
    device.requestInstall(await device.release({ version: NEXT }));
    device.machine = { ...device.machine, syncedNowMs: () => Promise.resolve(Date.now() + 4000 * DAY_MS) };
    expectRefused(device, await device.update(), 'model_trust_expired');
  });

  it('refuses metadata that expired before the latest time it has known, although the clock was lost since', async () => {
    const device = await Device.create();
    const nowMs = Date.now();
    device.requestInstall(await device.release({ version: NEXT, preflight: 'exit 1' }));
    device.machine = { ...device.machine, syncedNowMs: () => Promise.resolve(nowMs + 3_600_000) };
    await device.update();
    device.machine = { ...device.machine, syncedNowMs: () => Promise.resolve(null) };
    const archive = await packFakeVersion(device.repository.home, { version: '1.2.0' });
    await device.repository.publish([archive], nowMs - DEFAULT_EXPIRES_DAYS.timestamp * DAY_MS);
    device.requestInstall(archive);
    expectRefused(device, await device.update(), 'model_trust_expired');
  });
});

describe('order of versions', () => {
  it('refuses an older version and the one that runs', async () => {
    const device = await Device.create();
    device.requestInstall(await device.release({ version: '0.9.0' }));
    expectRefused(device, await device.update(), 'update_downgrade', /0\.9\.0 is not newer than 1\.0\.0/);
    device.requestInstall(await device.release({ version: FACTORY }));
    expectRefused(device, await device.update(), 'update_downgrade');
  });

  it('refuses a version whose database the former version could not use after a return', async () => {
    const { device, state } = await installed({ release: { schema: 7, compatible_from: 6 } });
    expectRefused(device, state, 'update_schema', /install a version between/);
  });

  it('refuses a version that is too old for the database', async () => {
    const { device, state } = await installed({ release: { schema: 4 } });
    expectRefused(device, state, 'update_schema', /too old/);
  });

  it('accepts a version with additive migrations', async () => {
    const { state } = await installed({ release: { schema: 7, compatible_from: 5 } });
    expect(state.trial).toMatchObject({ version: NEXT });
  });
});

describe('platform', () => {
  it('refuses an archive for another architecture', async () => {
    const device = await Device.create();
    device.requestInstall(await device.release({ version: NEXT }));
    device.machine = { ...device.machine, arch: 'riscv64' };
    expectRefused(device, await device.update(), 'model_trust_target', /no agent 1\.1\.0 for riscv64/);
  });

  it('refuses an archive that contains another architecture than its signed description', async () => {
    const device = await Device.create();
    const archive = await device.release({ version: NEXT, release: { arch: 'arm64' } });
    const mine = { ...archive, release: { ...archive.release, arch: device.machine.arch as 'amd64' } };
    await device.repository.publish([mine]);
    device.requestInstall(mine);
    expectRefused(device, await device.update(), 'update_platform', /is for arm64/);
  });

  it('refuses a version that needs a newer C library', async () => {
    const { device, state } = await installed({ release: { glibc: '2.99' } });
    expectRefused(device, state, 'update_platform', /glibc 2\.99/);
  });
});

describe('content of the archive', () => {
  const NODE = 'node/bin/node';
  it.each<[string, (dir: string) => void]>([
    ['a file without its execute bit', (dir) => chmodSync(join(dir, NODE), 0o644)],
    [
      'a file with an execute bit that it should not have',
      (dir) => chmodSync(join(dir, 'package.json'), 0o755),
    ],
    ['a changed file', (dir) => writeFileSync(join(dir, 'dist/main.js'), 'exit 0\n')],
    ['a missing file', (dir) => rmSync(join(dir, 'package.json'))],
    ['an additional file', (dir) => writeFileSync(join(dir, 'dist/other.js'), '')],
    ['a link', (dir) => symlinkSync('/etc/passwd', join(dir, 'dist/link'))],
    ['no release.json', (dir) => rmSync(join(dir, 'release.json'))],
    ['a damaged release.json', (dir) => writeFileSync(join(dir, 'release.json'), '{')],
  ])('refuses %s', async (_name, damage) => {
    const { device, state } = await installed({ damage });
    expectRefused(device, state, 'update_archive_refused');
  });

  it('refuses a release.json that lists a program that cannot be executed', async () => {
    const device = await Device.create();
    const archive = await device.release({
      version: NEXT,
      damage: (dir) => {
        const path = join(dir, 'release.json');
        writeFileSync(path, readFileSync(path, 'utf8').replace('"mode": 493', '"mode": 420'));
        chmodSync(join(dir, NODE), 0o644);
      },
    });
    device.requestInstall(archive);
    expectRefused(device, await device.update(), 'update_archive_refused', /not executable/);
  });

  it('refuses an archive that contains more than its signed description', async () => {
    const device = await Device.create();
    const archive = await device.release({
      version: NEXT,
      files: { 'dist/large.js': '#'.repeat(6_000_000) },
    });
    const files = Object.fromEntries(
      Object.entries(archive.release.files).filter(([path]) => path !== 'dist/large.js'),
    );
    const smaller = { ...archive, release: { ...archive.release, files } };
    await device.repository.publish([smaller]);
    device.requestInstall(smaller);
    expectRefused(device, await device.update(), 'update_archive_refused', /larger than its description/);
  });
});

describe('preflight', () => {
  it('refuses a version with the reason that its preflight reports', async () => {
    const reason =
      '{"format":1,"ok":false,"reason":{"code":"config_invalid","message":"mqtt.url is unknown"}}';
    const { device, state } = await installed({ preflight: `echo '${reason}'; exit 1` });
    expectRefused(device, state, 'config_invalid', /mqtt\.url is unknown/);
  });

  it.each([
    ['ends with an error', 'echo broken library >&2; exit 127', /status 127: broken library/],
    ['prints no report', 'exit 0', /status 0/],
    ['reports success but fails', `${PREFLIGHT_OK}; exit 3`, /status 3/],
    ['is killed, as when it takes too much memory', 'kill -9 $$', /status/],
  ])('refuses a version whose preflight %s', async (_name, preflight, message) => {
    const { device, state } = await installed({ preflight });
    expectRefused(device, state, 'update_preflight_failed', message);
  });

  it('refuses a version whose preflight takes more memory than it may', async () => {
    const device = await Device.create();
    const eat = `${process.execPath} -e 'Buffer.alloc(500e6, 1)' && ${PREFLIGHT_OK}`;
    device.requestInstall(await device.release({ version: NEXT, preflight: eat }));
    device.limits = { maxMemoryMb: 100 };
    expectRefused(device, await device.update(), 'update_preflight_failed');
  });

  it('refuses a version whose preflight hangs', async () => {
    const device = await Device.create();
    device.requestInstall(await device.release({ version: NEXT, preflight: 'sleep 100' }));
    device.limits = { maxSeconds: 1 };
    expectRefused(device, await device.update(), 'update_preflight_failed');
  });

  it.runIf(process.getuid?.() === 0)('runs as another user, which may write only its copy', async () => {
    const preflight = `[ "$(id -u)" = 65534 ] && : >"$6/copy" && ! (: >"$(dirname "$0")/x") 2>/dev/null && ${PREFLIGHT_OK}`;
    const { state } = await installed({ preflight });
    expect(state.trial, state.last_result?.message).toMatchObject({ version: NEXT });
  });
});

describe('requests', () => {
  it('refuses a second update while one is on trial, and the trial goes on', async () => {
    const device = await Device.create();
    await device.putOnTrial({ version: NEXT });
    const id = device.requestInstall(await device.release({ version: '1.2.0' }));
    const state = await device.update();
    expect(state).toMatchObject({
      trial: { version: NEXT },
      last_request: id,
      last_result: { id, status: 'refused', code: 'update_busy' },
    });
    device.confirm();
    expect((await device.update()).last_result).toMatchObject({ version: NEXT, status: 'committed' });
  });

  it('lets only one updater run', async () => {
    const device = await Device.create();
    device.requestInstall(await device.release({ version: NEXT, preflight: `sleep 1; ${PREFLIGHT_OK}` }));
    const first = device.update();
    await vi.waitFor(() => expect(device.logged.join()).toContain('preflight'), { timeout: 30_000 });
    await expect(device.update()).rejects.toMatchObject({ code: 'update_busy' });
    expect((await first).trial).toMatchObject({ version: NEXT });
  });

  it('refuses a damaged request that has an id', async () => {
    const device = await Device.create();
    const id = device.requestRollback();
    device.writeRequest(JSON.stringify({ format: 1, id, action: 'erase' }));
    const state = await device.update();
    expectRefused(device, state, 'update_request_invalid');
    expect(state.last_request).toBe(id);
  });

  it.each(['', '{', '[]', 'null', `"${'x'.repeat(70_000)}"`])(
    'ignores a file that is no request: %#',
    async (text) => {
      const device = await Device.create();
      device.writeRequest(text);
      expect(await device.update()).toMatchObject({ last_result: null, last_request: null });
    },
  );

  it('follows no links of the service user', async () => {
    const device = await Device.create();
    const archive = await device.release({ version: NEXT });
    device.requestInstall(archive);
    const path = join(device.paths.requests, `${archive.version.digest}.tar.gz`);
    rmSync(path);
    symlinkSync(archive.file, path);
    expectRefused(device, await device.update(), 'update_request_invalid', /archive/);
    const request = join(device.paths.requests, 'request.json');
    const text = readFileSync(request, 'utf8');
    rmSync(request);
    writeFileSync(join(device.repository.home, 'request'), text.replace(/"id":"./, '"id":"0'));
    symlinkSync(join(device.repository.home, 'request'), request);
    const before = device.state();
    expect(await device.update()).toEqual(before);
  });

  it('follows no link to the metadata, and does not wait for a pipe in their place', async () => {
    const device = await Device.create();
    const archive = await device.release({ version: NEXT });
    device.requestInstall(archive);
    const metadata = join(device.paths.requests, 'metadata');
    renameSync(metadata, `${metadata}-elsewhere`);
    symlinkSync(`${metadata}-elsewhere`, metadata);
    expectRefused(device, await device.update(), 'update_request_invalid', /metadata/);
    rmSync(metadata);
    device.requestInstall(archive);
    rmSync(join(metadata, 'timestamp.json'));
    spawnSync('mkfifo', [join(metadata, 'timestamp.json')]);
    expectRefused(device, await device.update(), 'model_transfer_failed');
  });

  it('refuses an update when the copy of the database would not fit', async () => {
    const device = await Device.create();
    device.requestInstall(await device.release({ version: NEXT }));
    // A sparse file: larger than any disk, without any block.
    const database = join(dirname(device.paths.requests), 'swellsight.db');
    writeFileSync(database, '');
    truncateSync(database, 2 ** 43);
    expect((await device.update()).last_result).toMatchObject({ status: 'refused', code: 'update_space' });
    expect(device.current()).toBe(FACTORY);
  });

  it('refuses a request that was interrupted five times', async () => {
    const device = await Device.create();
    const id = device.requestInstall(await device.release({ version: NEXT }));
    await device.update();
    const state = device.state();
    for (const name of ['trial.json', 'starts']) rmSync(join(device.paths.state, name), { force: true });
    const interrupted = {
      ...state,
      trial: null,
      last_request: null,
      working: { id, step: 'unpacking', attempts: 5 },
    };
    writeFileSync(join(device.paths.state, 'state.json'), JSON.stringify(interrupted));
    expect((await device.update()).last_result).toMatchObject({ code: 'update_interrupted' });
  });
});
