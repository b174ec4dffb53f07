import { Delegations } from '@tufjs/models/dist/delegations.js';
import { DelegatedRole } from '@tufjs/models/dist/role.js';
import { Key, Targets } from '@tufjs/models';
import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { archiveDigest, DAY_MS, targetEntry, TufSigner, NOW_MS } from '../../fixtures/tuf-signer.ts';

const good = archiveDigest('1.0.0');

/** A repository of the first day, and a device that has seen it. */
async function seen(version = 5) {
  const tuf = new TufSigner();
  tuf.root({ version: 1, keys: tuf.keys });
  tuf.publish(version);
  const device = tuf.device();
  expect(await device.fetchTarget()).toBe(good);
  return { tuf, device };
}

describe('an attacker without keys', () => {
  it('replays the repository of an earlier day', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const yesterday = tuf.publish(4).copyTree();
    const today = tuf.publish(5).copyTree();
    const device = tuf.device();
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
    expect(await device.fetchTarget('1.0.0', yesterday)).toBe('model_trust_rollback');
    expect(await device.fetchTarget('1.0.0', today)).toBe(good);
  });

  it('mixes the snapshot of another day under the timestamp of today', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const yesterday = tuf.publish(4).copyTree();
    tuf.publish(5);
    tuf.tree.set('metadata/5.snapshot.json', yesterday.get('metadata/4.snapshot.json')!);
    expect(await tuf.device().fetchTarget()).toBe('model_trust_mismatch');
  });

  it('mixes the targets of another day under the snapshot of today', async () => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const yesterday = tuf.publish(4).copyTree();
    tuf.publish(5);
    tuf.tree.set('metadata/5.targets.json', yesterday.get('metadata/4.targets.json')!);
    expect(await tuf.device().fetchTarget()).toBe('model_trust_mismatch');
  });

  it.each(['5.snapshot.json', '5.targets.json'])('withholds %s', async (file) => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    tuf.publish(5).tree.delete(`metadata/${file}`);
    expect(await tuf.device().fetchTarget()).toBe('model_trust_mismatch');
  });

  it('shows no repository at all, or cannot be reached', async () => {
    const { device } = await seen();
    expect(await device.fetchTarget('1.0.0', new Map())).toBe('model_transfer_failed');
    const unreachable = () => Promise.reject(new AgentError('model_transfer_failed', 'no answer'));
    expect(await device.fetchTarget('1.0.0', { fetch: unreachable })).toBe('model_transfer_failed');
  });

  it('signs all of it with keys of its own', async () => {
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

  it('makes a root of its own', async () => {
    const { tuf, device } = await seen();
    const root = tuf.createKeys(2);
    tuf.root({ version: 2, keys: { ...tuf.keys, root }, signers: root });
    expect(await device.fetchTarget()).toBe('model_trust_root');
  });

  it('shows the first root under the number of the second', async () => {
    const { tuf, device } = await seen();
    tuf.tree.set('metadata/2.root.json', tuf.tree.get('metadata/1.root.json')!);
    expect(await device.fetchTarget()).toBe('model_trust_root');
  });

  it.each([
    ['metadata/timestamp.json', 16],
    ['metadata/2.root.json', 128],
    ['metadata/5.snapshot.json', 64],
    ['metadata/5.targets.json', 4096],
  ])('makes %s huge', async (path, limitKib) => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    tuf.publish(5);
    const honest = tuf.tree.get(path) ?? tuf.root({ version: 2, keys: tuf.keys });
    // Still valid JSON with valid signatures: only its size is wrong.
    tuf.tree.set(path, Buffer.concat([honest, Buffer.alloc(limitKib * 1024, ' ')]));
    expect(await tuf.device().fetchTarget()).toBe('model_trust_mismatch');
  });

  it.each([
    ['a hundred thousand brackets', '['.repeat(10_000) + ']'.repeat(10_000)],
    ['ten thousand keys in one object', JSON.stringify(Object.fromEntries(Array.from({ length: 9000 }, (_, i) => [`${i}`, 1])))], // prettier-ignore
    ['nothing', ''],
    ['null', 'null'],
    ['a number', '1'],
    ['a list', '[]'],
    ['an empty object', '{}'],
    ['signed that is null', '{"signed":null,"signatures":[]}'],
    ['signatures that are text', '{"signed":{"_type":"timestamp"},"signatures":"all"}'],
    ['a prototype', '{"__proto__":{"signed":{}},"signatures":[]}'],
    ['no UTF-8', '\ufffd'],
    ['a web page', '<!doctype html><title>404</title>'],
  ])('serves %s as the timestamp', async (_what, text) => {
    const { tuf, device } = await seen();
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
  ])('writes a timestamp whose %s is %s', async (key, value) => {
    const { tuf, device } = await seen();
    const text = Buffer.from(tuf.publish(6).tree.get('metadata/timestamp.json')!).toString();
    const { signed, signatures } = JSON.parse(text) as { signed: object; signatures: unknown };
    const bent = Object.entries(signed).map(([name, held]) => `"${name}":${name === key ? value : JSON.stringify(held)}`); // prettier-ignore
    const bytes = `{"signatures":${JSON.stringify(signatures)},"signed":{${bent.join(',')}}}`;
    tuf.tree.set('metadata/timestamp.json', Buffer.from(bytes));
    expect(await device.fetchTarget()).toMatch(/^model_trust_(mismatch|signature)$/);
  });
});

describe('keys', () => {
  it('under the threshold', async () => {
    const tuf = new TufSigner();
    const pair = tuf.createKeys(2);
    tuf.root({ version: 1, keys: { ...tuf.keys, targets: pair }, thresholds: { targets: 2 } });
    tuf.keys.targets = pair.slice(0, 1);
    expect(await tuf.publish(1).device().fetchTarget()).toBe('model_trust_signature');
    tuf.keys.targets = pair;
    expect(await tuf.publish(2).device('second').fetchTarget()).toBe(good);
  });

  it('one key that signs twice', async () => {
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

  it('one key under two names, to count twice', async () => {
    const { tuf, device } = await seen();
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

  it.each(['targets', 'snapshot', 'timestamp'] as const)('of %s that were rotated out', async (role) => {
    const { tuf, device } = await seen();
    const stolen = tuf.keys[role];
    const fresh = tuf.createKeys(1);
    tuf.root({ version: 2, keys: { ...tuf.keys, [role]: fresh } });
    tuf.keys[role] = fresh;
    expect(await device.fetchTarget('1.0.0', tuf.publish(6).tree)).toBe(good);
    tuf.keys[role] = stolen;
    expect(await device.fetchTarget('1.0.0', tuf.publish(7).tree)).toBe('model_trust_signature');
  });

  it('of the root that were rotated out', async () => {
    const { tuf, device } = await seen();
    const stolen = tuf.keys.root;
    const fresh = tuf.createKeys(2);
    tuf.root({ version: 2, keys: { ...tuf.keys, root: fresh }, signers: [...stolen, ...fresh] });
    expect(await device.fetchTarget()).toBe(good);
    tuf.root({ version: 3, keys: { ...tuf.keys, root: stolen }, signers: stolen });
    expect(await device.fetchTarget()).toBe('model_trust_root');
  });

  it('of a new root that the former one does not vouch for, and that does not vouch for itself', async () => {
    const { tuf, device } = await seen();
    const fresh = tuf.createKeys(2);
    tuf.root({ version: 2, keys: { ...tuf.keys, root: fresh }, signers: tuf.keys.root });
    expect(await device.fetchTarget()).toBe('model_trust_root');
  });
});

describe('a long chain of roots', () => {
  it('is followed, link by link, and kept as far as it was verified', { timeout: 60_000 }, async () => {
    const tuf = new TufSigner();
    for (let version = 1; version <= 150; version += 1) tuf.root({ version, keys: tuf.keys });
    tuf.publish(1);
    const device = tuf.device();
    expect(await device.fetchTarget()).toBe('model_trust_root');
    expect(await device.fetchTarget()).toBe(good);
  });

  it('that was cut ends at the first root that nobody vouches for', async () => {
    const tuf = new TufSigner();
    const other = tuf.createKeys(2);
    for (let version = 1; version <= 9; version += 1)
      tuf.root({ version, keys: tuf.keys, signers: version === 5 ? other : tuf.keys.root });
    expect(await tuf.publish(1).device().fetchTarget()).toBe('model_trust_root');
  });
});

describe('time', () => {
  it.each(['root', 'targets', 'snapshot', 'timestamp'] as const)('%s that has expired', async (role) => {
    const tuf = new TufSigner();
    const at = (one: string) => NOW_MS + (one === role ? -1000 : 30 * DAY_MS);
    tuf.root({ version: 1, keys: tuf.keys, expiresMs: at('root') });
    const targets = tuf.targets(1, Object.fromEntries([targetEntry('1.0.0')]), at('targets'));
    tuf.timestamp(1, tuf.snapshot(1, targets, 1, at('snapshot')), 1, at('timestamp'));
    expect(await tuf.device().fetchTarget()).toBe('model_trust_expired');
  });

  it('a repository that is frozen is refused once its timestamp is over, and taken again when it lives', async () => {
    const { tuf, device } = await seen();
    device.nowMs = NOW_MS + 8 * DAY_MS;
    expect(await device.fetchTarget()).toBe('model_trust_expired');
    expect(await device.fetchTarget('1.0.0', tuf.publish(6, ['1.0.0'], NOW_MS + 15 * DAY_MS).tree)).toBe(
      good,
    );
  });

  it('without a synchronised clock the newest verified time counts', async () => {
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
    // Expired 18 days before the time that was once verified: frozen, whatever the clock does not say.
    const frozen = tuf.publish(3, ['1.0.0'], NOW_MS + 19 * DAY_MS).tree;
    expect(await device.fetchTarget('1.0.0', frozen)).toBe('model_trust_expired');
  });

  it('a clock 400 days ahead refuses, and does no lasting harm', async () => {
    const { device } = await seen();
    device.nowMs = NOW_MS + 400 * DAY_MS;
    expect(await device.fetchTarget()).toBe('model_trust_expired');
    device.nowMs = NOW_MS;
    expect(await device.fetchTarget()).toBe(good);
  });

  it('a clock 400 days behind does not make the expired fresh again', async () => {
    const { tuf, device } = await seen();
    tuf.publish(6, ['1.0.0'], NOW_MS - DAY_MS);
    device.nowMs = NOW_MS - 400 * DAY_MS;
    expect(await device.fetchTarget()).toBe('model_trust_expired');
  });

  it('holds expiry against the time that it is given and not against the clock of the machine', async () => {
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

describe('one who holds keys of a role', () => {
  it('the snapshot: cannot bring back older targets', async () => {
    const { tuf, device } = await seen();
    const old = tuf.targets(4, Object.fromEntries([targetEntry('1.0.0')]));
    tuf.timestamp(6, tuf.snapshot(6, old, 4));
    expect(await device.fetchTarget()).toBe('model_trust_rollback');
  });

  it('the timestamp: cannot bring back an older snapshot', async () => {
    const { tuf, device } = await seen();
    const targets = tuf.tree.get('metadata/5.targets.json')!;
    tuf.timestamp(6, tuf.snapshot(4, Buffer.from(targets), 5), 4);
    expect(await device.fetchTarget()).toBe('model_trust_rollback');
  });

  it('the timestamp: what it says twice under one version changes nothing', async () => {
    const { tuf, device } = await seen();
    tuf.publish(6);
    const bytes = Buffer.from(tuf.tree.get('metadata/6.snapshot.json')!);
    tuf.timestamp(5, bytes, 6);
    // The one that was verified first stands.
    expect(await device.fetchTarget()).toBe(good);
  });

  it('who ran the versions up to the highest number: new keys free the role', async () => {
    const { tuf, device } = await seen();
    tuf.publish(9_007_199_254_740_991);
    expect(await device.fetchTarget()).toBe(good);
    expect(await device.fetchTarget('1.0.0', tuf.publish(7).tree)).toBe('model_trust_rollback');
    const fresh = { ...tuf.keys, timestamp: tuf.createKeys(1), snapshot: tuf.createKeys(1) };
    tuf.root({ version: 2, keys: fresh });
    tuf.keys = fresh;
    expect(await device.fetchTarget('1.0.0', tuf.publish(8).tree)).toBe(good);
  });

  it('the targets: what a delegation names is not there, however it is wound', async () => {
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
    ['no bundle', {}],
    ['another model', { bundle: { name: 'other', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` } }],
    ['another version', { bundle: { name: 'model', version: '1.0.1', digest: `sha256:${'0'.repeat(64)}` } }],
    ['no digest', { bundle: { name: 'model', version: '1.0.0', digest: 'sha256:../../x' } }],
    ['odd requirements', { bundle: { name: 'model', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` }, requires: { agent: 7 } }], // prettier-ignore
  ])('the targets: names %s', async (_what, custom) => {
    const tuf = new TufSigner();
    tuf.root({ version: 1, keys: tuf.keys });
    const targets = tuf.targets(1, Object.fromEntries([targetEntry('1.0.0', custom)]));
    tuf.timestamp(1, tuf.snapshot(1, targets));
    expect(await tuf.device().fetchTarget()).toBe('model_trust_target');
  });

  it.each(['__proto__', 'constructor', '../1.0.0', '', '1.0.0/..'])(
    'a model of the name %j is not there',
    async (name) => {
      const { device } = await seen();
      expect(await device.fetchTarget(name)).toBe('model_trust_target');
    },
  );
});
