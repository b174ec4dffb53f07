import { createHash } from 'node:crypto';
import { chmod, cp, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packBundle } from '../../../src/model/archive/pack.ts';
import { unpackArchive } from '../../../src/model/archive/unpack.ts';
import { exportTarget } from '../../../src/model/repository/export.ts';
import { changeRoot, listKeys } from '../../../src/model/repository/change-root.ts';
import { verifyRepository } from '../../../src/model/repository/verify.ts';
import { directorySource } from '../../../src/model/trust/metadata-source.ts';
import { Trust } from '../../../src/model/trust/trust.ts';
import { BUNDLES, readTree, signedRepository, type TestRepository } from '../../fixtures/repository.ts';

const DAY_MS = 86_400_000;
const signal = AbortSignal.timeout(120_000);

/** What a device with the first root pinned makes of one model of the folder: its digest, or the code of the refusal. */
async function device(repository: TestRepository, model = 'heads', dir = repository.dir): Promise<string> {
  const rootFile = repository.rootFile;
  const trust = new Trust({ dir: join(repository.home, 'trust'), rootFile, syncedNowMs: Date.now() });
  try {
    await trust.refresh(directorySource(dir), signal);
    return (await trust.target(model, '1.0.0')).bundle.digest;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

const verify = (repository: TestRepository, nowMs = Date.now()) =>
  verifyRepository({ dir: repository.dir, rootFile: null, nowMs }, signal);

/** A bundle of the name `heads` with other bytes. */
async function otherHeads(repository: TestRepository): Promise<string> {
  const dir = join(repository.home, 'other-heads');
  await cp(join(BUNDLES, 'heads'), dir, { recursive: true });
  const manifest = join(dir, 'model.json');
  await writeFile(
    manifest,
    (await readFile(manifest, 'utf8')).replace('"license": "MIT"', '"license": "ISC"'),
  );
  return dir;
}

describe('publishing', () => {
  it('what was published is what a device takes', async () => {
    const repository = await signedRepository(['heads', 'depth']);
    const { models } = await verify(repository);
    expect(models.map(({ name, fault }) => [name, fault])).toEqual([
      ['heads', null],
      ['depth', null],
    ]);
    expect(await device(repository)).toBe(models[0]?.digest);
  });

  it('the same bytes again change nothing of it; from an archive they are the same', async () => {
    const repository = await signedRepository(['heads']);
    const tar = join(repository.home, 'heads.tar');
    await packBundle(join(BUNDLES, 'heads'), tar);
    const again = await repository.publish([tar]);
    expect(again.models.map(({ outcome }) => outcome)).toEqual(['unchanged']);
    expect((await readdir(join(repository.dir, 'targets/models/heads'))).length).toBe(1);
  });

  it('a version with other bytes is refused, and leaves the repository as it was', async () => {
    const repository = await signedRepository(['heads']);
    const before = await readTree(repository.dir);
    await expect(repository.publish([await otherHeads(repository)])).rejects.toMatchObject({
      code: 'repo_version_taken',
    });
    expect(await readTree(repository.dir)).toEqual(before);
  });

  it('a bundle with a fault is refused, and so are the sound ones beside it', async () => {
    const repository = await signedRepository();
    const broken = await otherHeads(repository);
    await writeFile(join(broken, 'model.json'), '{}');
    await expect(repository.publish(['depth', broken])).rejects.toMatchObject({
      code: 'model_manifest_invalid',
    });
    expect(await device(repository, 'depth')).toBe('model_trust_target');
  });

  it('what is withdrawn is not there any more; what is not there cannot be withdrawn', async () => {
    const repository = await signedRepository(['heads']);
    await repository.publish([], { withdraw: ['heads/1.0.0'] });
    expect(await device(repository)).toBe('model_trust_target');
    await expect(repository.publish([], { withdraw: ['heads/1.0.0'] })).rejects.toMatchObject({
      code: 'usage',
    });
  });

  it('a timer refreshes the timestamp with no other key at hand', async () => {
    const repository = await signedRepository(['heads'], { expiresDays: { root: 365, targets: 100, snapshot: 50, timestamp: 2 } }); // prettier-ignore
    await rename(repository.options.rootKeysDir, join(repository.home, 'away'));
    for (const name of await readdir(repository.options.keysDir))
      if (/^(targets|snapshot)-/.test(name)) await rm(join(repository.options.keysDir, name));
    const inThreeDays = Date.now() + 3 * DAY_MS;
    await expect(verify(repository, inThreeDays)).rejects.toMatchObject({ code: 'model_trust_expired' });
    await repository.publish([], { timestampOnly: true, nowMs: inThreeDays });
    expect((await verify(repository, inThreeDays)).models[0]?.fault).toBeNull();
    await expect(repository.publish([])).rejects.toMatchObject({ code: 'repo_keys' });
  });

  it('at each step that a power cut leaves, a device sees the former state, and publishing goes on', async () => {
    const repository = await signedRepository(['heads']);
    const before = await readTree(repository.dir);
    const settings = await readFile(join(repository.options.keysDir, 'repository.json'));
    await repository.publish(['depth']);
    const after = await readTree(repository.dir);
    const rank = (path: string): number =>
      ['targets/', '.targets.json', '.snapshot.json', 'timestamp.json'].findIndex((part) =>
        path.includes(part),
      );
    const written = [...after]
      .filter(([path, bytes]) => !Buffer.from(before.get(path) ?? '').equals(bytes))
      .toSorted(([a], [b]) => rank(a) - rank(b));
    expect(written.map(([path]) => rank(path))).toEqual([0, 1, 2, 3]);
    for (let steps = 0; steps <= written.length; steps += 1) {
      await rm(repository.dir, { recursive: true });
      for (const [path, bytes] of [...before, ...written.slice(0, steps)]) {
        await mkdir(join(repository.dir, path, '..'), { recursive: true });
        await writeFile(join(repository.dir, path), bytes);
      }
      await writeFile(join(repository.options.keysDir, 'repository.json'), settings);
      await rm(join(repository.home, 'trust'), { recursive: true, force: true });
      expect(await device(repository)).toMatch(/^sha256:/);
      const isThere = steps === written.length ? /^sha256:/ : /^model_trust_target$/;
      expect(await device(repository, 'depth')).toMatch(isThere);
      await repository.publish(['depth']);
      expect((await verify(repository)).models.length).toBe(2);
    }
  });

  it('two at once are kept apart', async () => {
    const repository = await signedRepository();
    const both = await Promise.allSettled([repository.publish(['heads']), repository.publish(['depth'])]);
    const refused = both.filter((one) => one.status === 'rejected');
    expect(refused.map(({ reason }) => (reason as { code: string }).code)).toEqual(['repo_busy']);
    await repository.publish(['heads', 'depth']);
    expect((await verify(repository)).models.every(({ fault }) => fault === null)).toBe(true);
    expect((await readdir(repository.dir)).toSorted()).toEqual(['metadata', 'targets']);
  });

  it.each([
    ['of a process that died here', hostname(), 2 ** 22 + 1, true],
    ['of another machine', 'elsewhere', 1, false],
    ['that a power cut tore', '', 0, true],
  ])('a lock %s', async (_what, host, pid, isTaken) => {
    const repository = await signedRepository();
    const text = host === '' ? '' : JSON.stringify({ host, pid, id: 'x' });
    await writeFile(join(repository.dir, '.lock'), text);
    const publishing = repository.publish(['heads']);
    if (isTaken) expect((await publishing).models.length).toBe(1);
    else await expect(publishing).rejects.toMatchObject({ code: 'repo_busy' });
  });
});

describe('a published folder that was broken into', () => {
  it.each(['metadata/timestamp.json', 'metadata/2.snapshot.json', 'metadata/2.targets.json'])(
    'with another %s gets nothing signed',
    async (path) => {
      const repository = await signedRepository(['heads']);
      const text = await readFile(join(repository.dir, path), 'utf8');
      await writeFile(join(repository.dir, path), text.replace('"version":2', '"version":3'));
      await expect(repository.publish(['depth'])).rejects.toMatchObject({ code: 'repo_damaged' });
    },
  );

  it('an older copy of all of it is not taken for the present one', async () => {
    const repository = await signedRepository(['heads']);
    const old = join(repository.home, 'old');
    await cp(repository.dir, old, { recursive: true });
    await repository.publish(['depth']);
    await rm(repository.dir, { recursive: true });
    await cp(old, repository.dir, { recursive: true });
    await expect(repository.publish([])).rejects.toMatchObject({ code: 'repo_damaged' });
  });

  it('what a stolen key signed after it was rotated out gets nothing signed', async () => {
    const repository = await signedRepository(['heads']);
    const stolen = await readTree(repository.dir);
    await changeRoot(repository.options, [{ kind: 'rotate', role: 'targets' }]);
    // Signed by the former keys: what stands in the folder before the rotation.
    for (const [path, bytes] of stolen)
      if (path.startsWith('metadata/')) await writeFile(join(repository.dir, path), bytes);
    await expect(repository.publish([])).rejects.toMatchObject({ code: 'repo_damaged' });
  });

  it('verify tells which archive is not the one that was signed', async () => {
    const repository = await signedRepository(['heads', 'depth']);
    const folder = join(repository.dir, 'targets/models/heads');
    const [name = ''] = await readdir(folder);
    const bytes = await readFile(join(folder, name));
    bytes[700] = (bytes[700] ?? 0) ^ 1;
    await writeFile(join(folder, name), bytes);
    const codes = async () => (await verify(repository)).models.map(({ fault }) => fault?.code ?? null);
    expect(await codes()).toEqual(['model_trust_mismatch', null]);
    await rm(join(folder, name));
    expect(await codes()).toEqual(['model_trust_target', null]);
    // Publishing it again brings it back.
    await repository.publish(['heads']);
    expect(await codes()).toEqual([null, null]);
  });
});

describe('keys', () => {
  it('only their owner may read them, and none lies in the published folder', async () => {
    const repository = await signedRepository();
    const { keys, exposed } = await listKeys(repository.options);
    expect(keys.map(({ role }) => role)).toEqual([
      'root',
      'root',
      'root',
      'targets',
      'snapshot',
      'timestamp',
    ]);
    for (const { file } of keys) expect((await stat(file ?? '')).mode & 0o777).toBe(0o600);
    expect(exposed).toEqual([]);
    await chmod(keys[0]?.file ?? '', 0o644);
    expect((await listKeys(repository.options)).exposed).toEqual([keys[0]?.file]);
    const shown = [...(await readTree(repository.dir)).values()].map((bytes) =>
      Buffer.from(bytes).toString(),
    );
    expect(shown.filter((text) => text.includes('PRIVATE'))).toEqual([]);
  });

  it('under a passphrase they are of use with it alone', async () => {
    const repository = await signedRepository([], { passphrase: 'sesame' });
    const [file] = (await listKeys(repository.options)).keys.map((key) => key.file ?? '');
    expect(await readFile(file ?? '', 'utf8')).toContain('ENCRYPTED PRIVATE KEY');
    for (const passphrase of [null, '', 'Sesame'])
      await expect(repository.publish(['heads'], { passphrase })).rejects.toMatchObject({
        code: 'repo_keys',
      });
    await repository.publish(['heads']);
    expect(await device(repository)).toMatch(/^sha256:/);
  });

  it.each(['root', 'targets', 'snapshot', 'timestamp'] as const)(
    'of %s are rotated, and devices follow',
    async (role) => {
      const repository = await signedRepository(['heads']);
      expect(await device(repository)).toMatch(/^sha256:/);
      const { added, revoked, version } = await changeRoot(repository.options, [{ kind: 'rotate', role }]);
      expect([version, added.length, revoked.length]).toEqual([
        2,
        role === 'root' ? 3 : 1,
        role === 'root' ? 3 : 1,
      ]);
      expect(await device(repository)).toMatch(/^sha256:/);
      await repository.publish(['depth']);
      expect(await device(repository, 'depth')).toMatch(/^sha256:/);
      expect((await verify(repository)).root.version).toBe(2);
    },
  );

  it('a root needs the threshold of its own keys', async () => {
    const repository = await signedRepository(['heads']);
    const roots = (await readdir(repository.options.rootKeysDir)).map((name) => join(repository.options.rootKeysDir, name)); // prettier-ignore
    await rm(roots[0] ?? '');
    await changeRoot(repository.options, []);
    await rm(roots[1] ?? '');
    const before = await readTree(repository.dir);
    await expect(changeRoot(repository.options, [])).rejects.toMatchObject({ code: 'repo_keys' });
    expect(await readTree(repository.dir)).toEqual(before);
    expect(await device(repository)).toMatch(/^sha256:/);
  });

  it('are added and revoked; none is revoked below the threshold', async () => {
    const repository = await signedRepository(['heads']);
    const targetsKey = (await listKeys(repository.options)).keys.find(({ role }) => role === 'targets');
    const revoke = { kind: 'revoke', keyId: targetsKey?.keyId.slice(0, 12) ?? '' } as const;
    await expect(changeRoot(repository.options, [revoke])).rejects.toMatchObject({ code: 'usage' });
    await expect(changeRoot(repository.options, [{ kind: 'revoke', keyId: 'ab' }])).rejects.toMatchObject({
      code: 'usage',
    });
    await changeRoot(repository.options, [
      { kind: 'add', role: 'targets' },
      { kind: 'add', role: 'targets' },
      { kind: 'threshold', role: 'targets', threshold: 2 },
    ]);
    await changeRoot(repository.options, [revoke]);
    expect((await listKeys(repository.options)).keys.filter(({ role }) => role === 'targets').length).toBe(2);
    expect(await device(repository)).toMatch(/^sha256:/);
  });

  it('a rotation that a power cut ended is ended by the next signature', async () => {
    const repository = await signedRepository(['heads']);
    const { keysDir } = repository.options;
    const before = await readTree(repository.dir);
    const settings = JSON.parse(await readFile(join(keysDir, 'repository.json'), 'utf8')) as object;
    const ownRoot = await readFile(join(keysDir, 'root.json'));
    await changeRoot(repository.options, [
      { kind: 'rotate', role: 'timestamp' },
      { kind: 'rotate', role: 'targets' },
    ]);
    // Everything but the last step: the timestamp is the former one.
    const timestamp = before.get('metadata/timestamp.json') ?? new Uint8Array();
    await writeFile(join(repository.dir, 'metadata/timestamp.json'), timestamp);
    const digest = createHash('sha256').update(timestamp).digest('hex');
    const rotating = { root: 2, timestamp_sha256: digest };
    await writeFile(join(keysDir, 'repository.json'), JSON.stringify({ ...settings, rotating }));
    await writeFile(join(keysDir, 'root.json'), ownRoot);
    expect(await device(repository)).toBe('model_trust_signature');
    await repository.publish([], { timestampOnly: true });
    expect(await device(repository)).toMatch(/^sha256:/);
    expect((await verify(repository)).models[0]?.fault).toBeNull();
  });
});

describe('init', () => {
  it('refuses a folder that is in use, keys in the open, and a threshold that cannot be met', async () => {
    const repository = await signedRepository();
    const { keysDir, rootKeysDir } = repository.options;
    const fresh = join(repository.home, 'fresh');
    const init = (other: object) => signedRepository([], other);
    await expect(init({ dir: repository.dir })).rejects.toMatchObject({ code: 'repo_exists' });
    await expect(init({ dir: fresh, keysDir, rootKeysDir })).rejects.toMatchObject({ code: 'repo_exists' });
    await expect(init({ dir: fresh, keysDir: join(fresh, 'keys') })).rejects.toMatchObject({ code: 'usage' });
    await expect(
      init({ thresholds: { root: 4, targets: 1, snapshot: 1, timestamp: 1 } }),
    ).rejects.toMatchObject({ code: 'usage' });
  });

  it('a folder that is no repository is told so', async () => {
    const repository = await signedRepository();
    await expect(repository.publish([], { keysDir: repository.home })).rejects.toMatchObject({
      code: 'repo_missing',
    });
  });
});

it('the export holds all that a device needs, in the same bytes each time', async () => {
  const repository = await signedRepository(['heads', 'depth']);
  await changeRoot(repository.options, [{ kind: 'rotate', role: 'snapshot' }]);
  const [first, second] = [join(repository.home, 'a.tar'), join(repository.home, 'b.tar')];
  const made = await exportTarget(repository.options, 'heads', '1.0.0', first, signal);
  expect(await exportTarget(repository.options, 'heads', '1.0.0', second, signal)).toEqual(made);
  expect((await stat(first)).size).toBe(made.sizeBytes);
  const folder = join(repository.home, 'unpacked');
  await unpackArchive(first, folder, { maxBytes: 1e8, maxFiles: 300, layout: 'repository' }, signal);
  expect(await device(repository, 'heads', folder)).toBe(made.target.bundle.digest);
  expect([...(await readTree(folder)).keys()]).toContain(made.target.path);
  await expect(exportTarget(repository.options, 'heads', '9.9.9', first, signal)).rejects.toMatchObject({
    code: 'model_trust_target',
  });
});
