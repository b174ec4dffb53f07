import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { archiveDigest, DAY_MS, TufSigner, NOW_MS, type Device } from '../../fixtures/tuf-signer.ts';

const good = archiveDigest('1.0.0');
const FILES = [
  'root.json',
  'timestamp.json',
  'snapshot.json',
  'targets.json',
  'marks.json',
  'marks.copy.json',
  'pinned',
];

/** A device that has verified version 5 with root 2. `yesterday` is version 4 with root 1, `today` version 5. */
async function refreshedDevice() {
  const tuf = new TufSigner();
  tuf.root({ version: 1, keys: tuf.keys });
  const yesterday = tuf.publish(4).copyTree();
  tuf.root({ version: 2, keys: tuf.keys });
  const today = tuf.publish(5).copyTree();
  const device = tuf.device();
  expect(await device.fetchTarget('1.0.0', today)).toBe(good);
  expect(readdirSync(device.dir).toSorted()).toEqual(FILES.toSorted());
  return { tuf, device, yesterday, today };
}

const DAMAGE: Record<string, (path: string) => void> = {
  missing: (path) => rmSync(path),
  empty: (path) => writeFileSync(path, ''),
  'truncated to half': (path) => {
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.subarray(0, bytes.length / 2));
  },
  'one bit flipped': (path) => {
    const bytes = readFileSync(path);
    const at = Math.floor(bytes.length / 2);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(path, bytes);
  },
  'filled with zeros': (path) => writeFileSync(path, Buffer.alloc(readFileSync(path).length)),
  'a directory': (path) => {
    rmSync(path);
    mkdirSync(join(path, 'x'), { recursive: true });
  },
};

describe.each(FILES)('a damaged local %s', (file) => {
  it.each(Object.keys(DAMAGE))('%s: allows no rollback and blocks no refresh', async (kind) => {
    const { device, yesterday, today } = await refreshedDevice();
    DAMAGE[kind]?.(join(device.dir, file));
    expect(await device.fetchTarget('1.0.0', yesterday)).toBe('model_trust_rollback');
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
    expect(await device.fetchTarget('1.0.0', yesterday)).toBe('model_trust_rollback');
  });
});

describe('local files', () => {
  it('reject a rollback when all metadata are lost but the marks are present', async () => {
    const { device, yesterday, today } = await refreshedDevice();
    for (const role of ['root', 'timestamp', 'snapshot', 'targets']) rmSync(join(device.dir, `${role}.json`));
    expect(await device.fetchTarget('1.0.0', yesterday)).toBe('model_trust_rollback');
    const rootOnly = new Map(yesterday).set('metadata/2.root.json', today.get('metadata/2.root.json')!);
    expect(await device.fetchTarget('1.0.0', rootOnly)).toBe('model_trust_rollback');
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
  });

  it('reject a rollback when both copies of the marks are lost', async () => {
    const { device, yesterday, today } = await refreshedDevice();
    rmSync(join(device.dir, 'marks.json'));
    rmSync(join(device.dir, 'marks.copy.json'));
    expect(await device.fetchTarget('1.0.0', yesterday)).toBe('model_trust_rollback');
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
  });

  it('may all be lost: the device starts again from the pinned root', async () => {
    const { device, today } = await refreshedDevice();
    rmSync(device.dir, { recursive: true });
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
  });

  it('reject a rollback when older metadata are next to newer marks, as after a power cut', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const yesterday = tuf.publish(4).copyTree();
    const device = tuf.device();
    expect(await device.fetchTarget('1.0.0', yesterday)).toBe(good);
    const old = join(tuf.home, 'old');
    cpSync(device.dir, old, { recursive: true });
    const today = tuf.publish(5).copyTree();
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
    for (const role of ['root', 'timestamp', 'snapshot', 'targets'])
      cpSync(join(old, `${role}.json`), join(device.dir, `${role}.json`));
    expect(await device.fetchTarget('1.0.0', yesterday)).toBe('model_trust_rollback');
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
  });

  it('keep the latest verified time when the metadata are lost', async () => {
    const { tuf, device, today } = await refreshedDevice();
    device.nowMs = NOW_MS + 6 * DAY_MS;
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
    for (const role of ['root', 'timestamp', 'snapshot', 'targets']) rmSync(join(device.dir, `${role}.json`));
    device.nowMs = null;
    expect(await device.fetchTarget('1.0.0', tuf.publish(6, ['1.0.0'], NOW_MS + 5 * DAY_MS).tree)).toBe(
      'model_trust_expired',
    );
  });

  it('keep verified metadata when a later file fails', async () => {
    const { tuf, device } = await refreshedDevice();
    tuf.root({ version: 3, keys: tuf.keys });
    const broken = tuf.publish(6).copyTree();
    broken.set('metadata/6.targets.json', Buffer.from('{}'));
    expect(await device.fetchTarget('1.0.0', broken)).toBe('model_trust_mismatch');
    expect([versionOf(device, 'root'), versionOf(device, 'timestamp')]).toEqual([3, 6]);
    expect(versionOf(device, 'targets')).toBe(5);
    // The kept metadata prevent a rollback.
    const before = tuf.publish(5).copyTree();
    expect(await device.fetchTarget('1.0.0', before)).toBe('model_trust_rollback');
    expect(await device.fetchTarget('1.0.0', tuf.publish(6).tree)).toBe(good);
  });

  it('do not change when metadata are rejected', async () => {
    const { device, yesterday, today } = await refreshedDevice();
    rmSync(join(device.dir, 'timestamp.json'));
    for (let time = 0; time < 3; time += 1)
      expect(await device.fetchTarget('1.0.0', yesterday)).toBe('model_trust_rollback');
    expect(existsSync(join(device.dir, 'timestamp.json'))).toBe(false);
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
  });

  it('contain no scratch directory after an abort', async () => {
    const { device, today } = await refreshedDevice();
    const stop = new AbortController();
    const source = {
      fetch: (path: string): Promise<Uint8Array | null> => {
        if (path.endsWith('timestamp.json')) stop.abort();
        return Promise.resolve(today.get(path) ?? null);
      },
    };
    await expect(device.trust().refresh(source, stop.signal)).rejects.toMatchObject({ name: 'AbortError' });
    expect(readdirSync(device.dir).toSorted()).toEqual(FILES.toSorted());
  });

  it('give the target without a repository until they expire', async () => {
    const { device } = await refreshedDevice();
    expect((await device.trust().target('model', '1.0.0')).sha256).toBe(good);
    device.nowMs = NOW_MS + 8 * DAY_MS;
    await expect(device.trust().target('model', '1.0.0')).rejects.toMatchObject({
      code: 'model_trust_expired',
    });
    rmSync(join(device.dir, 'targets.json'));
    await expect(device.trust().target('model', '1.0.0')).rejects.toMatchObject({
      code: 'model_trust_mismatch',
    });
  });
});

describe('the pinned root', () => {
  it('clears the stored metadata when it is replaced by another root', async () => {
    const { device, today } = await refreshedDevice();
    const other = new TufSigner();
    const root = other.root({ version: 1, keys: other.keys });
    const first = readFileSync(device.rootFile);
    writeFileSync(device.rootFile, root);
    expect(await device.fetchTarget('1.0.0', today)).toMatch(/^model_trust_(root|signature)$/);
    expect(await device.fetchTarget('1.0.0', other.publish(1).tree)).toBe(good);
    writeFileSync(device.rootFile, first);
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
  });

  it('is the same with other white space', async () => {
    const { device, yesterday } = await refreshedDevice();
    writeFileSync(
      device.rootFile,
      JSON.stringify(JSON.parse(readFileSync(device.rootFile, 'utf8')), null, 4),
    );
    expect(await device.fetchTarget('1.0.0', yesterday)).toBe('model_trust_rollback');
  });

  it.each([
    ['missing', null],
    ['empty', ''],
    ['not JSON', 'root'],
    ['not a root', '{"signed":{"_type":"timestamp"},"signatures":[]}'],
    ['huge', ' '.repeat(1_000_000)],
  ])('is rejected when it is %s', async (_what, text) => {
    const { device, today } = await refreshedDevice();
    if (text === null) rmSync(device.rootFile);
    else writeFileSync(device.rootFile, text);
    expect(await device.fetchTarget('1.0.0', today)).toBe('model_trust_root');
  });

  it('is rejected when its signed part was changed', async () => {
    const { device, today } = await refreshedDevice();
    writeFileSync(
      device.rootFile,
      readFileSync(device.rootFile, 'utf8').replace('"threshold":1', '"threshold":2'),
    );
    expect(await device.fetchTarget('1.0.0', today)).toBe('model_trust_root');
  });
});

function versionOf(device: Device, role: string): number {
  const text = readFileSync(join(device.dir, `${role}.json`), 'utf8');
  return (JSON.parse(text) as { signed: { version: number } }).signed.version;
}
