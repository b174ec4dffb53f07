import { Delegations } from '@tufjs/models/dist/delegations.js';
import { DelegatedRole } from '@tufjs/models/dist/role.js';
import { Key, Targets } from '@tufjs/models';
import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { archiveDigest, DAY_MS, targetEntry, TufSigner, NOW_MS } from '../../fixtures/tuf-signer.ts';

const good = archiveDigest('1.0.0');

/** A repository, and a device that has verified it. */
async function refreshedDevice(version = 5) {
  const tuf = new TufSigner();
  tuf.root({ version: 1, keys: tuf.keys });
  tuf.publish(version);
  const device = tuf.device();
  expect(await device.fetchTarget()).toBe(good);
  return { tuf, device };
}

describe('an attacker without keys', () => {
  it('cannot replay an earlier version of the repository', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const yesterday = tuf.publish(4).copyTree();
    const today = tuf.publish(5).copyTree();
    const device = tuf.device();
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
    expect(await device.fetchTarget('1.0.0', yesterday)).toBe('model_trust_rollback');
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
  });

  it('cannot combine an older snapshot with the present timestamp', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const yesterday = tuf.publish(4).copyTree();
    tuf.publish(5);
    tuf.tree.set('metadata/5.snapshot.json', yesterday.get('metadata/4.snapshot.json')!);
    expect(await tuf.device().fetchTarget()).toBe('model_trust_mismatch');
  });

  it('cannot combine older targets with the present snapshot', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const yesterday = tuf.publish(4).copyTree();
    tuf.publish(5);
    tuf.tree.set('metadata/5.targets.json', yesterday.get('metadata/4.targets.json')!);
    expect(await tuf.device().fetchTarget()).toBe('model_trust_mismatch');
  });

  it.each(['5.snapshot.json', '5.targets.json'])('causes an error by withholding %s', async (file) => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    tuf.publish(5).tree.delete(`metadata/${file}`);
    expect(await tuf.device().fetchTarget()).toBe('model_trust_mismatch');
  });

  it('causes model_transfer_failed by hiding or blocking the repository', async () => {
    const { device } = await refreshedDevice();
    expect(await device.fetchTarget('1.0.0', new Map())).toBe('model_transfer_failed');
    const unreachable = () => Promise.reject(new AgentError('model_transfer_failed', 'no answer'));
    expect(await device.fetchTarget('1.0.0', { fetch: unreachable })).toBe('model_transfer_failed');
  });

  it('cannot sign with other keys', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const device = tuf.device();
    tuf.keys = {
      ...tuf.keys,
      timestamp: tuf.createKeys(1),
      snapshot: tuf.createKeys(1),
      targets: tuf.createKeys(1),
    };
    tuf.publish(1);
    expect(await device.fetchTarget()).toBe('model_trust_signature');
  });

  it('cannot sign a root with other keys', async () => {
    const { tuf, device } = await refreshedDevice();
    const root = tuf.createKeys(2);
    tuf.root({ version: 2, keys: { ...tuf.keys, root }, signers: root });
    expect(await device.fetchTarget()).toBe('model_trust_root');
  });

  it('cannot serve the first root as the second version', async () => {
    const { tuf, device } = await refreshedDevice();
    tuf.tree.set('metadata/2.root.json', tuf.tree.get('metadata/1.root.json')!);
    expect(await device.fetchTarget()).toBe('model_trust_root');
  });

  it.each([
    ['metadata/timestamp.json', 16],
    ['metadata/2.root.json', 128],
    ['metadata/5.snapshot.json', 64],
    ['metadata/5.targets.json', 4096],
  ])('cannot make %s huge', async (path, limitKib) => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    tuf.publish(5);
    const valid = tuf.tree.get(path) ?? tuf.root({ version: 2, keys: tuf.keys });
    // Valid JSON with valid signatures: only the size is wrong.
    tuf.tree.set(path, Buffer.concat([valid, Buffer.alloc(limitKib * 1024, ' ')]));
    expect(await tuf.device().fetchTarget()).toBe('model_trust_mismatch');
  });

  it.each([
    ['ten thousand nested lists', '['.repeat(10_000) + ']'.repeat(10_000)],
    ['nine thousand keys in one object', JSON.stringify(Object.fromEntries(Array.from({ length: 9000 }, (_, i) => [`${i}`, 1])))], // prettier-ignore
    ['an empty file', ''],
    ['null', 'null'],
    ['a number', '1'],
    ['a list', '[]'],
    ['an empty object', '{}'],
    ['a signed part of null', '{"signed":null,"signatures":[]}'],
    ['signatures of text', '{"signed":{"_type":"timestamp"},"signatures":"all"}'],
    ['a prototype', '{"__proto__":{"signed":{}},"signatures":[]}'],
    ['invalid UTF-8', '\ufffd'],
    ['a web page', '<!doctype html><title>404</title>'],
  ])('cannot serve %s as the timestamp', async (_what, text) => {
    const { tuf, device } = await refreshedDevice();
    const bytes = text === '\ufffd' ? Buffer.from([0x7b, 0xff, 0x7d]) : Buffer.from(text);
    tuf.tree.set('metadata/timestamp.json', bytes);
    expect(await device.fetchTarget()).toBe('model_trust_mismatch');
    expect(await device.fetchTarget('1.0.0', tuf.publish(6).tree)).toBe(good);
  });

  it.each([
    ['version', '"5"'],
    ['version', '5.5'],
    ['version', '1e400'],
    ['version', 'null'],
    ['expires', '"never"'],
    ['expires', '99999999999999'],
    ['spec_version', '"2.0.0"'],
    ['meta', '{"snapshot.json":[]}'],
    ['meta', '[]'],
  ])('cannot set %s to %s in a timestamp', async (key, value) => {
    const { tuf, device } = await refreshedDevice();
    const text = Buffer.from(tuf.publish(6).tree.get('metadata/timestamp.json')!).toString();
    const { signed, signatures } = JSON.parse(text) as { signed: object; signatures: unknown };
    const changed = Object.entries(signed).map(([name, held]) => `"${name}":${name === key ? value : JSON.stringify(held)}`); // prettier-ignore
    const bytes = `{"signatures":${JSON.stringify(signatures)},"signed":{${changed.join(',')}}}`;
    tuf.tree.set('metadata/timestamp.json', Buffer.from(bytes));
    expect(await device.fetchTarget()).toMatch(/^model_trust_(mismatch|signature)$/);
  });
});

describe('key checks', () => {
  it('rejects fewer signatures than the threshold', async () => {
    const tuf = new TufSigner();
    const pair = tuf.createKeys(2);
    tuf.root({ version: 1, keys: { ...tuf.keys, targets: pair }, thresholds: { targets: 2 } });
    tuf.keys.targets = pair.slice(0, 1);
    expect(await tuf.publish(1).device().fetchTarget()).toBe('model_trust_signature');
    tuf.keys.targets = pair;
    expect(await tuf.publish(2).device('second').fetchTarget()).toBe(good);
  });

  it('rejects a threshold met twice by the same key', async () => {
    const tuf = new TufSigner();
    const pair = tuf.createKeys(2);
    tuf.root({ version: 1, keys: { ...tuf.keys, timestamp: pair }, thresholds: { timestamp: 2 } });
    tuf.keys.timestamp = pair.slice(0, 1);
    tuf.publish(1);
    const path = 'metadata/timestamp.json';
    const twice = JSON.parse(Buffer.from(tuf.tree.get(path)!).toString()) as {
      signatures: { keyid: string }[];
    };
    twice.signatures.push({ ...twice.signatures[0]!, keyid: pair[1]!.key.keyID });
    tuf.tree.set(path, Buffer.from(JSON.stringify(twice)));
    expect(await tuf.device().fetchTarget()).toBe('model_trust_signature');
  });

  it('rejects a root that lists one key under two ids', async () => {
    const { tuf, device } = await refreshedDevice();
    const [only] = tuf.createKeys(1);
    const { key } = only!;
    const { keyType, scheme, keyVal } = key;
    const twin = { ...only!, key: new Key({ keyID: 'f'.repeat(64), keyType, scheme, keyVal }) };
    tuf.root({
      version: 2,
      keys: { ...tuf.keys, timestamp: [only!, twin] },
      thresholds: { timestamp: 2 },
    });
    expect(await device.fetchTarget()).toBe('model_trust_root');
  });

  it.each(['targets', 'snapshot', 'timestamp'] as const)(
    'rejects %s signed by keys that were rotated out',
    async (role) => {
      const { tuf, device } = await refreshedDevice();
      const stolen = tuf.keys[role];
      const fresh = tuf.createKeys(1);
      tuf.root({ version: 2, keys: { ...tuf.keys, [role]: fresh } });
      tuf.keys[role] = fresh;
      expect(await device.fetchTarget('1.0.0', tuf.publish(6).tree)).toBe(good);
      tuf.keys[role] = stolen;
      expect(await device.fetchTarget('1.0.0', tuf.publish(7).tree)).toBe('model_trust_signature');
    },
  );

  it('rejects a root signed only by keys that were rotated out', async () => {
    const { tuf, device } = await refreshedDevice();
    const stolen = tuf.keys.root;
    const fresh = tuf.createKeys(2);
    tuf.root({ version: 2, keys: { ...tuf.keys, root: fresh }, signers: [...stolen, ...fresh] });
    expect(await device.fetchTarget()).toBe(good);
    tuf.root({ version: 3, keys: { ...tuf.keys, root: stolen }, signers: stolen });
    expect(await device.fetchTarget()).toBe('model_trust_root');
  });

  it('rejects a new root that its own keys did not sign', async () => {
    const { tuf, device } = await refreshedDevice();
    const fresh = tuf.createKeys(2);
    tuf.root({ version: 2, keys: { ...tuf.keys, root: fresh }, signers: tuf.keys.root });
    expect(await device.fetchTarget()).toBe('model_trust_root');
  });
});

describe('a long chain of roots', () => {
  it('is followed over several refreshes', { timeout: 60_000 }, async () => {
    const tuf = new TufSigner();
    for (let version = 1; version <= 150; version += 1) tuf.root({ version, keys: tuf.keys });
    tuf.publish(1);
    const device = tuf.device();
    expect(await device.fetchTarget()).toBe('model_trust_root');
    expect(await device.fetchTarget()).toBe(good);
  });

  it('is rejected at the first root without valid signatures', async () => {
    const tuf = new TufSigner();
    const other = tuf.createKeys(2);
    for (let version = 1; version <= 9; version += 1)
      tuf.root({ version, keys: tuf.keys, signers: version === 5 ? other : tuf.keys.root });
    expect(await tuf.publish(1).device().fetchTarget()).toBe('model_trust_root');
  });
});

describe('expiry', () => {
  it.each(['root', 'targets', 'snapshot', 'timestamp'] as const)(
    'rejects %s metadata that have expired',
    async (role) => {
      const tuf = new TufSigner();
      const at = (one: string) => NOW_MS + (one === role ? -1000 : 30 * DAY_MS);
      tuf.root({ version: 1, keys: tuf.keys, expiresMs: at('root') });
      const targets = tuf.targets(1, Object.fromEntries([targetEntry('1.0.0')]), at('targets'));
      tuf.timestamp(1, tuf.snapshot(1, targets, 1, at('snapshot')), 1, at('timestamp'));
      expect(await tuf.device().fetchTarget()).toBe('model_trust_expired');
    },
  );

  it('rejects a frozen repository after its timestamp has expired, and accepts a new timestamp', async () => {
    const { tuf, device } = await refreshedDevice();
    device.nowMs = NOW_MS + 8 * DAY_MS;
    expect(await device.fetchTarget()).toBe('model_trust_expired');
    expect(await device.fetchTarget('1.0.0', tuf.publish(6, ['1.0.0'], NOW_MS + 15 * DAY_MS).tree)).toBe(
      good,
    );
  });

  it('uses the latest verified time without a synchronised clock', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const old = tuf.publish(1, ['1.0.0'], NOW_MS + 2 * DAY_MS).copyTree();
    const device = tuf.device();
    device.nowMs = null;
    expect(await device.fetchTarget('1.0.0', old)).toBe(good);
    device.nowMs = NOW_MS + 20 * DAY_MS;
    expect(await device.fetchTarget('1.0.0', tuf.publish(2, ['1.0.0'], NOW_MS + 25 * DAY_MS).tree)).toBe(
      good,
    );
    device.nowMs = null;
    // Expired before the latest verified time, which replaces the clock.
    const frozen = tuf.publish(3, ['1.0.0'], NOW_MS + 19 * DAY_MS).tree;
    expect(await device.fetchTarget('1.0.0', frozen)).toBe('model_trust_expired');
  });

  it('recovers from a clock that was 400 days ahead', async () => {
    const { device } = await refreshedDevice();
    device.nowMs = NOW_MS + 400 * DAY_MS;
    expect(await device.fetchTarget()).toBe('model_trust_expired');
    device.nowMs = NOW_MS;
    expect(await device.fetchTarget()).toBe(good);
  });

  it('rejects expired metadata with a clock 400 days behind', async () => {
    const { tuf, device } = await refreshedDevice();
    tuf.publish(6, ['1.0.0'], NOW_MS - DAY_MS);
    device.nowMs = NOW_MS - 400 * DAY_MS;
    expect(await device.fetchTarget()).toBe('model_trust_expired');
  });

  it('uses the given time and not the clock of the machine', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys, expiresMs: Date.UTC(2001, 0, 1) });
    const then = Date.UTC(2000, 0, 1);
    const targets = tuf.targets(1, Object.fromEntries([targetEntry('1.0.0')]), then + DAY_MS);
    tuf.timestamp(1, tuf.snapshot(1, targets, 1, then + DAY_MS), 1, then + DAY_MS);
    const device = tuf.device();
    device.nowMs = then;
    expect(await device.fetchTarget()).toBe(good);
  });
});

describe('an attacker with the keys of a role', () => {
  it('snapshot: cannot roll back the targets', async () => {
    const { tuf, device } = await refreshedDevice();
    const old = tuf.targets(4, Object.fromEntries([targetEntry('1.0.0')]));
    tuf.timestamp(6, tuf.snapshot(6, old, 4));
    expect(await device.fetchTarget()).toBe('model_trust_rollback');
  });

  it('timestamp: cannot roll back the snapshot', async () => {
    const { tuf, device } = await refreshedDevice();
    const targets = tuf.tree.get('metadata/5.targets.json')!;
    tuf.timestamp(6, tuf.snapshot(4, Buffer.from(targets), 5), 4);
    expect(await device.fetchTarget()).toBe('model_trust_rollback');
  });

  it('timestamp: cannot sign two files with the same version', async () => {
    const { tuf, device } = await refreshedDevice();
    tuf.publish(6);
    const bytes = Buffer.from(tuf.tree.get('metadata/6.snapshot.json')!);
    tuf.timestamp(5, bytes, 6);
    // The first verified file remains in use.
    expect(await device.fetchTarget()).toBe(good);
  });

  it('timestamp: cannot block the role with the highest version after a key rotation', async () => {
    const { tuf, device } = await refreshedDevice();
    tuf.publish(9_007_199_254_740_991);
    expect(await device.fetchTarget()).toBe(good);
    expect(await device.fetchTarget('1.0.0', tuf.publish(7).tree)).toBe('model_trust_rollback');
    const fresh = { ...tuf.keys, timestamp: tuf.createKeys(1), snapshot: tuf.createKeys(1) };
    tuf.root({ version: 2, keys: fresh });
    tuf.keys = fresh;
    expect(await device.fetchTarget('1.0.0', tuf.publish(8).tree)).toBe(good);
  });

  it('targets: cannot add models by delegations', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const [key] = tuf.createKeys(1);
    const role = (name: string): DelegatedRole =>
      new DelegatedRole({
        name,
        keyIDs: [key!.key.keyID],
        threshold: 1,
        terminating: false,
        paths: ['models/*/*'],
      });
    const delegating = (version: number, names: readonly string[]): Targets =>
      new Targets({
        specVersion: '1.0.31',
        version,
        expires: '2027-01-01T00:00:00Z',
        targets: Object.fromEntries([targetEntry('1.0.0')]),
        delegations: new Delegations({
          keys: { [key!.key.keyID]: key!.key },
          roles: Object.fromEntries(names.map((name) => [name, role(name)])),
        }),
      });
    const signers = tuf.keys.targets;
    const top = tuf.put(
      'metadata/1.targets.json',
      delegating(1, ['a', 'b', '../../etc', '__proto__']),
      signers,
    );
    tuf.put('metadata/1.a.json', delegating(1, ['b']), [key!]);
    tuf.put('metadata/1.b.json', delegating(1, ['a']), [key!]);
    tuf.timestamp(1, tuf.snapshot(1, top));
    const device = tuf.device();
    expect(await device.fetchTarget('2.0.0')).toBe('model_trust_target');
    expect(await device.fetchTarget('1.0.0')).toBe(good);
  });

  it.each([
    ['no bundle field', {}],
    ['another model', { bundle: { name: 'other', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` } }],
    ['another version', { bundle: { name: 'model', version: '1.0.1', digest: `sha256:${'0'.repeat(64)}` } }],
    ['no digest', { bundle: { name: 'model', version: '1.0.0', digest: 'sha256:../../x' } }],
    ['invalid requirements', { bundle: { name: 'model', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` }, requires: { agent: 7 } }], // prettier-ignore
  ])('targets: cannot sign a target with %s', async (_what, custom) => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const targets = tuf.targets(1, Object.fromEntries([targetEntry('1.0.0', custom)]));
    tuf.timestamp(1, tuf.snapshot(1, targets));
    expect(await tuf.device().fetchTarget()).toBe('model_trust_target');
  });

  it.each(['__proto__', 'constructor', '../1.0.0', '', '1.0.0/..'])(
    'targets: cannot be searched for the version %j',
    async (name) => {
      const { device } = await refreshedDevice();
      expect(await device.fetchTarget(name)).toBe('model_trust_target');
    },
  );
});
