import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { packBundle } from '../../../src/model/archive/pack.ts';
import { unpackArchive } from '../../../src/model/archive/unpack.ts';
import { exportTarget } from '../../../src/model/repository/export.ts';
import {
  changeRoot,
  draftRoot,
  importRoot,
  listKeys,
  type RootChange,
} from '../../../src/model/repository/change-root.ts';
import { signRootFile } from '../../../src/model/repository/root-file.ts';
import { verifyRepository } from '../../../src/model/repository/verify.ts';
import { directorySource } from '../../../src/model/trust/metadata-source.ts';
import { Trust } from '../../../src/model/trust/trust.ts';
import { BUNDLES, readTree, signedRepository, type TestRepository } from '../../fixtures/repository.ts';

const DAY_MS = 86_400_000;
const signal = AbortSignal.timeout(120_000);

/** The digest of a model for a device that has pinned the first root, or the error code. */
async function deviceResult(
  repository: TestRepository,
  model = 'heads',
  dir = repository.dir,
): Promise<string> {
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

/** A bundle named `heads` with other bytes. */
async function makeOtherHeads(repository: TestRepository): Promise<string> {
  const dir = join(repository.home, 'other-heads');
  await cp(join(BUNDLES, 'heads'), dir, { recursive: true });
  const manifest = join(dir, 'model.json');
  await writeFile(
    manifest,
    (await readFile(manifest, 'utf8')).replace('"license": "MIT"', '"license": "ISC"'),
  );
  return dir;
}

describe('publish', () => {
  it('publishes models that a device accepts', async () => {
    const repository = await signedRepository(['heads', 'depth']);
    const { models } = await verify(repository);
    expect(models.map(({ name, fault }) => [name, fault])).toEqual([
      ['heads', null],
      ['depth', null],
    ]);
    expect(await deviceResult(repository)).toBe(models[0]?.digest);
  });

  it('reports the same bytes from an archive as unchanged', async () => {
    const repository = await signedRepository(['heads']);
    const tar = join(repository.home, 'heads.tar');
    await packBundle(join(BUNDLES, 'heads'), tar);
    const again = await repository.publish([tar]);
    expect(again.models.map(({ outcome }) => outcome)).toEqual(['unchanged']);
    expect((await readdir(join(repository.dir, 'targets/models/heads'))).length).toBe(1);
  });

  it('refuses other bytes for a published version and leaves the repository unchanged', async () => {
    const repository = await signedRepository(['heads']);
    const before = await readTree(repository.dir);
    await expect(repository.publish([await makeOtherHeads(repository)])).rejects.toMatchObject({
      code: 'repo_version_taken',
    });
    expect(await readTree(repository.dir)).toEqual(before);
  });

  it('publishes no bundle when one of them has a fault', async () => {
    const repository = await signedRepository();
    const broken = await makeOtherHeads(repository);
    await writeFile(join(broken, 'model.json'), '{}');
    await expect(repository.publish(['depth', broken])).rejects.toMatchObject({
      code: 'model_manifest_invalid',
    });
    expect(await deviceResult(repository, 'depth')).toBe('model_trust_target');
  });

  it('withdraws a model, and refuses to withdraw an unknown one', async () => {
    const repository = await signedRepository(['heads']);
    await repository.publish([], { withdraw: ['heads/1.0.0'] });
    expect(await deviceResult(repository)).toBe('model_trust_target');
    await expect(repository.publish([], { withdraw: ['heads/1.0.0'] })).rejects.toMatchObject({
      code: 'usage',
    });
  });

  it('refreshes the timestamp without any other key', async () => {
    const repository = await signedRepository(['heads'], { expiresDays: { root: 365, targets: 100, snapshot: 50, timestamp: 2 } }); // prettier-ignore
    await rename(join(repository.home, 'root-keys'), join(repository.home, 'away'));
    for (const name of await readdir(repository.options.keysDir))
      if (/^(targets|snapshot)-/.test(name)) await rm(join(repository.options.keysDir, name));
    const inThreeDays = Date.now() + 3 * DAY_MS;
    await expect(verify(repository, inThreeDays)).rejects.toMatchObject({ code: 'model_trust_expired' });
    await repository.publish([], { timestampOnly: true, nowMs: inThreeDays });
    expect((await verify(repository, inThreeDays)).models[0]?.fault).toBeNull();
    await expect(repository.publish([])).rejects.toMatchObject({ code: 'repo_keys' });
  });

  it('keeps the former state for devices after a power cut at any step, and can publish again', async () => {
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
      expect(await deviceResult(repository)).toMatch(/^sha256:/);
      const expected = steps === written.length ? /^sha256:/ : /^model_trust_target$/;
      expect(await deviceResult(repository, 'depth')).toMatch(expected);
      await repository.publish(['depth']);
      expect((await verify(repository)).models.length).toBe(2);
    }
  });

  it('refuses a second writer at the same time', async () => {
    const repository = await signedRepository();
    const results = await Promise.allSettled([repository.publish(['heads']), repository.publish(['depth'])]);
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused.map(({ reason }) => (reason as { code: string }).code)).toEqual(['repo_busy']);
    await repository.publish(['heads', 'depth']);
    expect((await verify(repository)).models.every(({ fault }) => fault === null)).toBe(true);
    expect((await readdir(repository.dir)).toSorted()).toEqual(['metadata', 'targets']);
  });

  it.each([
    ['takes over the lock of a process that has exited', hostname(), 2 ** 22 + 1, true],
    ['respects the lock of another machine', 'elsewhere', 1, false],
    ['takes over a lock file that a power cut damaged', '', 0, true],
  ])('%s', async (_what, host, pid, isTaken) => {
    const repository = await signedRepository();
    const text = host === '' ? '' : JSON.stringify({ host, pid, id: 'x' });
    await writeFile(join(repository.dir, '.lock'), text);
    const publishing = repository.publish(['heads']);
    if (isTaken) expect((await publishing).models.length).toBe(1);
    else await expect(publishing).rejects.toMatchObject({ code: 'repo_busy' });
  });
});

describe('a published directory that an attacker changed', () => {
  it.each(['metadata/timestamp.json', 'metadata/2.snapshot.json', 'metadata/2.targets.json'])(
    'refuses to sign with a changed %s',
    async (path) => {
      const repository = await signedRepository(['heads']);
      const text = await readFile(join(repository.dir, path), 'utf8');
      await writeFile(join(repository.dir, path), text.replace('"version":2', '"version":3'));
      await expect(repository.publish(['depth'])).rejects.toMatchObject({ code: 'repo_damaged' });
    },
  );

  it('detects an older copy of the directory', async () => {
    const repository = await signedRepository(['heads']);
    const old = join(repository.home, 'old');
    await cp(repository.dir, old, { recursive: true });
    await repository.publish(['depth']);
    await rm(repository.dir, { recursive: true });
    await cp(old, repository.dir, { recursive: true });
    await expect(repository.publish([])).rejects.toMatchObject({ code: 'repo_damaged' });
  });

  it('refuses to sign metadata of a key that was rotated out', async () => {
    const repository = await signedRepository(['heads']);
    const stolen = await readTree(repository.dir);
    await changeRoot(repository.options, [{ kind: 'rotate', role: 'targets' }]);
    // The files before the rotation, signed by the former keys.
    for (const [path, bytes] of stolen)
      if (path.startsWith('metadata/')) await writeFile(join(repository.dir, path), bytes);
    await expect(repository.publish([])).rejects.toMatchObject({ code: 'repo_damaged' });
  });

  it('reports which archive differs from the signed one', async () => {
    const repository = await signedRepository(['heads', 'depth']);
    const archiveDir = join(repository.dir, 'targets/models/heads');
    const [name = ''] = await readdir(archiveDir);
    const bytes = await readFile(join(archiveDir, name));
    bytes[700] = (bytes[700] ?? 0) ^ 1;
    await writeFile(join(archiveDir, name), bytes);
    const codes = async () => (await verify(repository)).models.map(({ fault }) => fault?.code ?? null);
    expect(await codes()).toEqual(['model_trust_mismatch', null]);
    await rm(join(archiveDir, name));
    expect(await codes()).toEqual(['model_trust_target', null]);
    // Publishing again restores the archive.
    await repository.publish(['heads']);
    expect(await codes()).toEqual([null, null]);
  });
});

describe('keys', () => {
  it('are readable only by their owner, and not in the published directory', async () => {
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
    const published = [...(await readTree(repository.dir)).values()].map((bytes) =>
      Buffer.from(bytes).toString(),
    );
    expect(published.filter((text) => text.includes('PRIVATE'))).toEqual([]);
  });

  it('are usable only with their passphrase', async () => {
    const repository = await signedRepository([], { passphrase: 'sesame' });
    const [file] = (await listKeys(repository.options)).keys.map((key) => key.file ?? '');
    expect(await readFile(file ?? '', 'utf8')).toContain('ENCRYPTED PRIVATE KEY');
    for (const passphrase of [null, '', 'Sesame'])
      await expect(repository.publish(['heads'], { passphrase })).rejects.toMatchObject({
        code: 'repo_keys',
      });
    await repository.publish(['heads']);
    expect(await deviceResult(repository)).toMatch(/^sha256:/);
  });

  it.each(['root', 'targets', 'snapshot', 'timestamp'] as const)(
    'of %s can be rotated, and devices accept the new ones',
    async (role) => {
      const repository = await signedRepository(['heads']);
      expect(await deviceResult(repository)).toMatch(/^sha256:/);
      const { added, revoked, version } = await changeRoot(repository.options, [{ kind: 'rotate', role }]);
      expect([version, added.length, revoked.length]).toEqual([
        2,
        role === 'root' ? 3 : 1,
        role === 'root' ? 3 : 1,
      ]);
      expect(await deviceResult(repository)).toMatch(/^sha256:/);
      await repository.publish(['depth']);
      expect(await deviceResult(repository, 'depth')).toMatch(/^sha256:/);
      expect((await verify(repository)).root.version).toBe(2);
    },
  );

  it('sign a root only with the threshold of its own keys', async () => {
    const repository = await signedRepository(['heads']);
    const rootKeys = join(repository.home, 'root-keys');
    const roots = (await readdir(rootKeys)).map((name) => join(rootKeys, name));
    await rm(roots[0] ?? '');
    await changeRoot(repository.options, []);
    await rm(roots[1] ?? '');
    const before = await readTree(repository.dir);
    await expect(changeRoot(repository.options, [])).rejects.toMatchObject({ code: 'repo_keys' });
    expect(await readTree(repository.dir)).toEqual(before);
    expect(await deviceResult(repository)).toMatch(/^sha256:/);
  });

  it('of the root may be on several disks, of which enough must be present', async () => {
    const home = await mkdtemp(join(tmpdir(), 'swellsight-sticks-'));
    onTestFinished(() => rm(home, { recursive: true }));
    const sticks = ['a', 'b', 'c'].map((name) => join(home, name));
    const repository = await signedRepository(['heads'], { rootKeysDirs: sticks });
    expect(await Promise.all(sticks.map(async (stick) => (await readdir(stick)).length))).toEqual([1, 1, 1]);
    const [first = '', second = '', third = ''] = sticks;
    const change = (...rootKeysDirs: string[]) => changeRoot({ ...repository.options, rootKeysDirs }, []);
    await expect(change(second)).rejects.toMatchObject({ code: 'repo_keys' });
    expect((await change(second, third)).version).toBe(2);
    const absent = join(home, 'not plugged in');
    expect((await change(absent, first, third)).version).toBe(3);
    expect(await deviceResult(repository)).toMatch(/^sha256:/);

    // A new key is never written to the place of an absent disk, and goes to the disk with the fewest keys.
    const add = (...rootKeysDirs: string[]) =>
      changeRoot({ ...repository.options, rootKeysDirs }, [{ kind: 'add', role: 'root' }]);
    await expect(add(first, second, absent)).rejects.toMatchObject({ code: 'repo_keys' });
    expect(existsSync(absent)).toBe(false);
    const empty = join(home, 'd');
    await mkdir(empty);
    await add(first, second, empty);
    expect(await readdir(empty)).toHaveLength(1);
    // Two of three keys would be on the first of two disks.
    const rotation = changeRoot({ ...repository.options, rootKeysDirs: sticks.slice(0, 2) }, [
      { kind: 'rotate', role: 'root' },
    ]);
    await expect(rotation).rejects.toMatchObject({ code: 'usage' });
    await expect(signedRepository(['heads'], { rootKeysDirs: sticks.slice(0, 2) })).rejects.toMatchObject({
      code: 'usage',
    });
  });

  it('of the root may sign in different places, on copies of one file', async () => {
    const home = await mkdtemp(join(tmpdir(), 'swellsight-holders-'));
    onTestFinished(() => rm(home, { recursive: true }));
    const holders = ['a', 'b', 'c'].map((name) => join(home, name));
    const repository = await signedRepository(['heads'], { rootKeysDirs: holders });
    const [first = '', second = '', third = ''] = holders;
    const before = await readTree(repository.dir);
    // The operator has no root key, and asks the first two holders.
    const operator = { ...repository.options, rootKeysDirs: [join(home, 'none')] };
    const [draft, copy] = [join(home, 'root.json'), join(home, 'copy.json')];
    const change = await draftRoot(operator, [{ kind: 'rotate', role: 'targets' }], draft);
    expect([change.version, change.added.length, change.revoked.length]).toEqual([2, 1, 1]);
    await cp(draft, copy);
    const signAs = (holder: string, file: string) =>
      signRootFile(file, { rootKeysDirs: [holder], passphrase: null });
    expect(await signAs(first, draft)).toMatchObject({ version: 2, signedBy: [expect.any(String)] });
    await expect(importRoot(operator, [draft])).rejects.toMatchObject({
      code: 'repo_keys',
      message: expect.stringContaining('2 of 3 former') as unknown,
    });
    // Neither a key of another root nor a holder that signs twice counts.
    const stranger = await signedRepository([]);
    const [strangers = ''] = stranger.options.rootKeysDirs;
    await signAs(strangers, draft);
    await signAs(first, draft);
    await expect(importRoot(operator, [draft])).rejects.toMatchObject({ code: 'repo_keys' });
    // A signature is valid only for the bytes that were signed.
    const changed = join(home, 'changed.json');
    await signAs(second, copy);
    await writeFile(changed, (await readFile(copy, 'utf8')).replace('"threshold":2', '"threshold":1'));
    await expect(importRoot(operator, [changed])).rejects.toMatchObject({ code: 'repo_keys' });
    await expect(importRoot(operator, [draft, changed])).rejects.toMatchObject({ code: 'usage' });
    await expect(signAs(join(home, 'none'), draft)).rejects.toMatchObject({ code: 'repo_keys' });
    expect(await readTree(repository.dir)).toEqual(before);

    expect(await importRoot(operator, [draft, copy])).toMatchObject({ version: 2, signed: ['targets', 'snapshot', 'timestamp'] }); // prettier-ignore
    expect(await deviceResult(repository)).toMatch(/^sha256:/);
    await expect(importRoot(operator, [draft, copy])).rejects.toMatchObject({ code: 'usage' });
    // New root keys must sign too: the third holder has neither of them.
    const fresh = join(home, 'd');
    await mkdir(fresh);
    const next = join(home, 'next.json');
    const keys: readonly RootChange[] = [{ kind: 'add', role: 'root' }, { kind: 'threshold', role: 'root', threshold: 3 }]; // prettier-ignore
    await draftRoot({ ...operator, rootKeysDirs: [fresh] }, keys, next);
    await signAs(third, next);
    await expect(importRoot(operator, [next])).rejects.toMatchObject({
      message: expect.stringContaining('3 of 4 new') as unknown,
    });
    await signAs(second, next);
    expect((await importRoot(operator, [next])).version).toBe(3);
    expect(await deviceResult(repository)).toMatch(/^sha256:/);
  });

  it('can be added and revoked, but not below the threshold', async () => {
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
    expect(await deviceResult(repository)).toMatch(/^sha256:/);
  });

  it('complete an interrupted rotation with the next signature', async () => {
    const repository = await signedRepository(['heads']);
    const { keysDir } = repository.options;
    const before = await readTree(repository.dir);
    const settings = JSON.parse(await readFile(join(keysDir, 'repository.json'), 'utf8')) as object;
    const ownRoot = await readFile(join(keysDir, 'root.json'));
    await changeRoot(repository.options, [
      { kind: 'rotate', role: 'timestamp' },
      { kind: 'rotate', role: 'targets' },
    ]);
    // All steps but the last: the timestamp is the former one.
    const timestamp = before.get('metadata/timestamp.json') ?? new Uint8Array();
    await writeFile(join(repository.dir, 'metadata/timestamp.json'), timestamp);
    const digest = createHash('sha256').update(timestamp).digest('hex');
    const rotating = { root: 2, timestamp_sha256: digest };
    await writeFile(join(keysDir, 'repository.json'), JSON.stringify({ ...settings, rotating }));
    await writeFile(join(keysDir, 'root.json'), ownRoot);
    expect(await deviceResult(repository)).toBe('model_trust_signature');
    await repository.publish([], { timestampOnly: true });
    expect(await deviceResult(repository)).toMatch(/^sha256:/);
    expect((await verify(repository)).models[0]?.fault).toBeNull();
  });
});

describe('initRepository', () => {
  it('refuses a directory in use, keys in the published directory, and a threshold above the number of keys', async () => {
    const repository = await signedRepository();
    const { keysDir, rootKeysDirs } = repository.options;
    const fresh = join(repository.home, 'fresh');
    const init = (other: object) => signedRepository([], other);
    await expect(init({ dir: repository.dir })).rejects.toMatchObject({ code: 'repo_exists' });
    await expect(init({ dir: fresh, keysDir, rootKeysDirs })).rejects.toMatchObject({ code: 'repo_exists' });
    await expect(init({ dir: fresh, keysDir: join(fresh, 'keys') })).rejects.toMatchObject({ code: 'usage' });
    await expect(
      init({ thresholds: { root: 4, targets: 1, snapshot: 1, timestamp: 1 } }),
    ).rejects.toMatchObject({ code: 'usage' });
  });

  it('throws repo_missing for a directory that is not a repository', async () => {
    const repository = await signedRepository();
    await expect(repository.publish([], { keysDir: repository.home })).rejects.toMatchObject({
      code: 'repo_missing',
    });
  });
});

it('exports everything that a device needs, with the same bytes each time', async () => {
  const repository = await signedRepository(['heads', 'depth']);
  await changeRoot(repository.options, [{ kind: 'rotate', role: 'snapshot' }]);
  const [first, second] = [join(repository.home, 'a.tar'), join(repository.home, 'b.tar')];
  const exported = await exportTarget(repository.options, 'heads', '1.0.0', first, signal);
  expect(await exportTarget(repository.options, 'heads', '1.0.0', second, signal)).toEqual(exported);
  expect((await stat(first)).size).toBe(exported.sizeBytes);
  const unpackedDir = join(repository.home, 'unpacked');
  await unpackArchive(first, unpackedDir, { maxBytes: 1e8, maxFiles: 300, layout: 'repository' }, signal);
  expect(await deviceResult(repository, 'heads', unpackedDir)).toBe(exported.target.bundle.digest);
  expect([...(await readTree(unpackedDir)).keys()]).toContain(exported.target.path);
  await expect(exportTarget(repository.options, 'heads', '9.9.9', first, signal)).rejects.toMatchObject({
    code: 'model_trust_target',
  });
});
