import Database from 'better-sqlite3';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommandResult } from '../../src/contract/command.ts';
import type { ModelSource } from '../../src/contract/model.ts';
import type { ModelRef, Observation } from '../../src/contract/observation.ts';
import type { Event, ModelState } from '../../src/contract/states.ts';
import { BlockSender } from '../../src/mqtt/block-sender.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import { entry, tar } from '../fixtures/archive.ts';
import type { BundleName } from '../fixtures/bundles.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import {
  archiveOfFiles,
  changedBundle,
  HostileRepository,
  type BundleChange,
  type Offer,
} from '../fixtures/hostile-repository.ts';
import { Mosquitto, until } from '../fixtures/mosquitto.ts';
import { Recorder } from '../fixtures/recorder.ts';
import { tempDir } from '../fixtures/store.ts';
import { externalTensor, field } from '../unit/model/protobuf.ts';

const DEVICE = 'swellsight/v1/test/dev/';
const TEN_GB = 10_000_000_000;

const sea = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../fixtures/sea', name));
/** A living picture: never the same twice in a row. */
const ALIVE = [sea('sea-small.jpg'), sea('sea-big.jpg')];
const RED = await sharp(sea('sea-small.jpg')).tint({ r: 255, g: 0, b: 0 }).jpeg().toBuffer();

/** One attack's view of the world. Each has a version of its own, so that none is taken for another one. */
interface Attacker {
  readonly repository: HostileRepository;
  readonly version: string;
  /** Signs for a bundle of the tests, changed. Returns the path of its archive. */
  readonly offer: (name: BundleName, change?: BundleChange, more?: Partial<Offer>) => string;
  /** What is sent in blocks in place of a repository. */
  readonly blocks: (archive: Buffer) => Promise<ModelSource>;
}

type Prepared = ModelSource | undefined;

interface Attack {
  readonly what: string;
  readonly code: string;
  /** In the words of the refusal: that it is this attack which was seen. */
  readonly why: string;
  readonly name?: BundleName;
  /** What the command names; the repository when nothing is returned. */
  readonly prepare: (attacker: Attacker) => Promise<Prepared> | Prepared;
}

const flipped = (bytes: Buffer, at: number): Buffer => {
  const other = Buffer.from(bytes);
  other[at] = (other[at] ?? 0) ^ 1;
  return other;
};

/** One bit within what is signed: the first digit of the year in which it expires. */
const flippedInDate = (bytes: Buffer): Buffer => {
  const at = bytes.toString('latin1').search(/\d{4}-\d\d-\d\dT/);
  expect(at).toBeGreaterThan(0);
  return flipped(bytes, at);
};

const flips = (file: (day: number) => string, code: string, why: string): Attack => ({
  what: `one bit of ${file(0).replace('/0', '/N')} flipped`,
  code,
  why,
  prepare: ({ repository, offer }) => {
    offer('heads');
    const path = file(repository.day);
    repository.show(path, flippedInDate(repository.bytes(path)));
    return undefined;
  },
});

/** A bundle that its owner signed for. */
const signed = (
  what: string,
  code: string,
  why: string,
  name: BundleName,
  change?: BundleChange,
): Attack => ({
  what,
  code,
  why,
  name,
  prepare: ({ offer }) => {
    offer(name, change);
    return undefined;
  },
});

/** A signed archive that no honest writer makes. */
const packed = (what: string, code: string, why: string, ...entries: readonly Buffer[]): Attack => ({
  what: `${what} in a signed archive`,
  code,
  why,
  prepare: ({ offer, version }) => {
    offer('heads', {}, { archive: archiveOfFiles(changedBundle('heads', version), ...entries) });
    return undefined;
  },
});

/** An archive in blocks, for which nobody vouches yet when it is opened. */
const sent = (what: string, code: string, why: string, ...entries: readonly Buffer[]): Attack => ({
  what: `${what} in an archive that comes in blocks`,
  code,
  why,
  prepare: ({ blocks }) => blocks(tar(...entries)),
});

const EVIL = entry({ path: '../../../evil', body: 'evil' });
/** Beyond what octal digits can say: the size stands in binary. */
const TEN_GB_ENTRY = entry({
  path: 'weights.bin',
  change: (header) => {
    header.fill(0, 124, 136);
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(TEN_GB), 128);
  },
});
const LINK = entry({ path: 'README.md', type: '2', link: '/etc/passwd' });
/** Two fields of one message are one: what is added becomes part of the graph. */
const graph = (...parts: readonly Buffer[]): BundleChange => ({
  files: { 'analysis.onnx': (was) => Buffer.concat([was, field(7, ...parts)]) },
});
const chain = (length: number): Buffer[] =>
  Array.from({ length }, (_, n) =>
    field(
      1,
      field(1, n === 0 ? 'height_m' : `sin${String(n)}`),
      field(2, `sin${String(n + 1)}`),
      field(4, 'Sin'),
    ),
  );

const ATTACKS: readonly Attack[] = [
  {
    what: 'one bit of a new root flipped',
    code: 'model_trust_root',
    why: 'the root metadata: root was signed by 0/1 keys',
    prepare: ({ repository, offer }) => {
      repository.root();
      offer('heads');
      repository.show(repository.rootPath, flippedInDate(repository.bytes(repository.rootPath)));
      return undefined;
    },
  },
  flips(() => 'metadata/timestamp.json', 'model_trust_signature', 'timestamp was signed by 0/1 keys'),
  flips(
    (day) => `metadata/${String(day)}.snapshot.json`,
    'model_trust_mismatch',
    'the snapshot metadata are not what was promised',
  ),
  flips(
    (day) => `metadata/${String(day)}.targets.json`,
    'model_trust_mismatch',
    'the targets metadata are not what was promised',
  ),
  {
    what: 'one bit of the archive flipped',
    code: 'model_transfer_changed',
    why: 'not those that were signed for',
    prepare: ({ repository, offer }) => {
      const path = offer('heads');
      const bytes = repository.bytes(path);
      repository.show(path, flipped(bytes, bytes.length >> 1));
      return undefined;
    },
  },
  {
    what: 'the repository of an earlier day',
    code: 'model_trust_rollback',
    why: 'New timestamp version 1 is less than current version',
    prepare: ({ repository }) => {
      repository.shown = repository.firstDay ?? repository.shown;
      return undefined;
    },
  },
  {
    what: 'a timestamp that has expired',
    code: 'model_trust_expired',
    why: 'the timestamp metadata have expired',
    prepare: ({ repository, offer }) => {
      offer('heads');
      repository.sign(Date.now() - 1000);
      return undefined;
    },
  },
  {
    what: 'the snapshot of another day',
    code: 'model_trust_mismatch',
    why: 'the snapshot metadata are not what was promised',
    prepare: ({ repository, offer }) => {
      const former = repository.bytes(`metadata/${String(repository.day)}.snapshot.json`);
      offer('heads');
      repository.show(`metadata/${String(repository.day)}.snapshot.json`, former);
      return undefined;
    },
  },
  {
    what: 'one key where two are wanted',
    code: 'model_trust_signature',
    why: 'targets was signed by 1/2 keys',
    prepare: ({ repository, offer }) => {
      const { forge } = repository;
      const pair = forge.make(2);
      forge.keys.targets = pair;
      repository.root({ targets: 2 });
      forge.keys.targets = pair.slice(0, 1);
      offer('heads');
      forge.keys.targets = pair;
      return undefined;
    },
  },
  {
    what: 'a key that was rotated out',
    code: 'model_trust_signature',
    why: 'timestamp was signed by 0/1 keys',
    prepare: ({ repository, offer }) => {
      const { forge } = repository;
      const stolen = forge.keys.timestamp;
      const fresh = forge.make(1);
      forge.keys.timestamp = fresh;
      repository.root({ targets: 2 });
      forge.keys.timestamp = stolen;
      offer('heads');
      forge.keys.timestamp = fresh;
      return undefined;
    },
  },
  packed('a path out of the folder', 'model_archive_refused', '"../../../evil" is no path of a bundle', EVIL),
  packed('a symbolic link', 'model_archive_refused', '"README.md" is a symbolic link', LINK),
  packed('10 GB announced', 'model_too_large', 'the archive holds more than', TEN_GB_ENTRY),
  sent(
    'a path out of the folder',
    'model_archive_refused',
    '"../../../evil" is no path of a repository',
    EVIL,
  ),
  sent(
    'a symbolic link',
    'model_archive_refused',
    '"targets" is a symbolic link',
    entry({ path: 'targets', type: '2', link: '/etc' }),
  ),
  {
    what: '10 GB announced in signed metadata',
    code: 'model_too_large',
    why: 'the archive has 10000000000 bytes',
    prepare: ({ offer }) => {
      offer('heads', {}, { announcedBytes: TEN_GB });
      return undefined;
    },
  },
  {
    what: '10 GB announced in the command',
    code: 'model_too_large',
    why: '10000000000 bytes were announced',
    prepare: () => ({ kind: 'mqtt', size_bytes: TEN_GB, digest: `sha256:${'0'.repeat(64)}` }),
  },
  signed(
    'tensors from `..`',
    'model_bundle_refused',
    'analysis.onnx takes tensors from "../../../../etc/passwd", outside the bundle',
    'heads',
    graph(field(5, externalTensor('../../../../etc/passwd'))),
  ),
  signed('other hardware', 'model_requires', 'the model asks for windows', 'heads', {
    manifest: (manifest) => (manifest.requires = { ...manifest.requires, hardware: ['windows'] }),
  }),
  signed(
    '50,000 nodes in a row',
    'model_bundle_refused',
    'more than 20000 nodes',
    'heads',
    graph(...chain(50_000)),
  ),
  signed('an endless loop', 'model_candidate_failed', 'no result within', 'loop'),
  signed('2 GiB allocated', 'model_out_of_memory', 'over the', 'big-alloc'),
  signed('NaN', 'model_golden_mismatch', 'holds NaN', 'nan'),
  signed('other values than promised', 'model_golden_mismatch', 'is off by 0.500', 'wrong-golden'),
  signed(
    'the right model with its labels in another order',
    'model_golden_mismatch',
    'is LEFT, expected is RIGHT',
    'heads',
    {
      manifest: (manifest) => {
        const direction = manifest.heads.wave_direction;
        if (direction === undefined) throw new Error('no direction');
        manifest.golden = manifest.golden.map((one, n) => ({
          ...one,
          labels: { wave_direction: n === 0 ? 'RIGHT' : 'LEFT' },
        }));
        manifest.heads = {
          ...manifest.heads,
          wave_direction: { ...direction, labels: ['RIGHT', 'LEFT', 'STRAIGHT'] },
        };
      },
    },
  ),
  signed(
    'the right model with too few labels',
    'model_manifest_invalid',
    '2 labels for an output of 3 values',
    'heads',
    {
      manifest: ({ heads }) => void heads.wave_direction?.labels.pop(),
    },
  ),
];

describe('a running agent under attack by models', () => {
  const home = tempDir('swellsight-attacks-');
  const repository = new HostileRepository(home.path);
  const models = join(home.path, 'var', 'models');
  const senders: BlockSender[] = [];
  let broker: Mosquitto;
  let web: TestServer;
  let camera: TestServer;
  let pictures = 0;
  let isRed = false;
  let recorder: Recorder;
  let operator: MqttClient;
  let agent: RunningAgent;
  let sound: ModelRef;

  const states = (): ModelState[] => recorder.json('model/state') as unknown as ModelState[];
  const active = (): ModelRef | null | undefined => states().at(-1)?.active;
  const events = (type: string): Event[] => recorder.json(`event/${type}`) as unknown as Event[];
  const observations = (): Observation[] =>
    ['observation', 'backfill']
      .flatMap((stream) => recorder.json(`camera/north/${stream}`) as unknown as Observation[])
      .sort((a, b) => a.seq - b.seq);
  /** One that has not come yet. */
  const readingBy = (name: string): Promise<Observation> => {
    const seen = observations().at(-1)?.seq ?? 0;
    return until(
      () => observations().find((one) => one.seq > seen && one.model?.name === name),
      `a reading by ${name}`,
      120_000,
    );
  };
  let asked = 0;
  const install = async (name: string, version: string, source?: ModelSource): Promise<CommandResult> => {
    asked += 1;
    const id = `${name}-${version}-${String(asked)}`;
    const args = { name, version, source: source ?? { kind: 'repository' } };
    await operator.publishAsync(`${DEVICE}cmd/model.install`, JSON.stringify({ id, args }), { qos: 1 });
    return until(
      () =>
        recorder
          .json('cmdres/model.install')
          .find((one) => one['id'] === id && one['status'] !== 'accepted') as CommandResult | undefined,
      `the answer to ${id}`,
      240_000,
    );
  };
  const offer = (version: string, name: BundleName, change?: BundleChange, more?: Partial<Offer>): string =>
    repository.offer({ name, version, files: changedBundle(name, version, change), ...more });
  const blocks = async (archive: Buffer): Promise<ModelSource> => {
    const file = join(home.path, `blocks-${String(senders.length)}.tar`);
    writeFileSync(file, archive);
    const sender = await BlockSender.open(file, {
      publish: async (topic, payload) => {
        await operator.publishAsync(topic, payload, { qos: 1 });
      },
    });
    senders.push(sender);
    sender.serve(DEVICE);
    return { kind: 'mqtt', size_bytes: sender.sizeBytes, digest: sender.digest };
  };

  beforeAll(async () => {
    const trustRoot = join(home.path, 'root.json');
    writeFileSync(trustRoot, repository.bytes(repository.rootPath));
    broker = await Mosquitto.start();
    web = await httpServer((request, response) => {
      const body = repository.shown.get((request.url ?? '').slice(1));
      response.writeHead(body ? 200 : 404).end(body);
    });
    camera = await httpServer((_, response) => {
      pictures += 1;
      const picture = isRed ? RED : ALIVE[pictures % ALIVE.length];
      response.writeHead(200, { 'content-type': 'image/jpeg' }).end(picture);
    });
    recorder = await Recorder.start(broker.url);
    operator = await broker.client();
    operator.on('message', (topic, payload, { retain }) => senders.at(-1)?.receive(topic, payload, retain));
    await operator.subscribeAsync(`${DEVICE}model/blocks/request`, { qos: 1 });
    agent = await RunningAgent.start(
      {
        mqtt: { url: broker.url },
        cameras: [
          {
            id: 'north',
            kind: 'http',
            url: `${camera.url}/now.jpg`,
            schedule: { everyS: 1 },
            burst: { frames: 1 },
          },
        ],
        inference: { providers: ['cpu'], threads: 1, timeoutS: 5, maxRssMb: 400 },
        model: { repository: web.url, trustRoot, probation: { observations: 6, minutes: 0 } },
      },
      // Expiry is held against a clock that is known to be right.
      { stateDir: home.path, steered: { synced: true } },
    );
    await agent.observation((line) => line['status'] === 'measured', 120_000);
  }, 240_000);

  afterAll(async () => {
    await Promise.all(senders.map((sender) => sender.close()));
    await agent.stop();
    operator.end(true);
    await Promise.all([web.stop(), camera.stop(), broker.stop()]);
    home.remove();
  });

  it('takes a sound one', async () => {
    offer('1.0.0', 'heads');
    expect(await install('heads', '1.0.0')).toMatchObject({ status: 'succeeded' });
    await until(
      () => states().at(-1)?.phase === 'committed' && active()?.name === 'heads',
      'its end',
      120_000,
    );
    sound = active() as ModelRef;
    expect(sound).toMatchObject({ name: 'heads', version: '1.0.0' });
    await readingBy('heads');
  }, 240_000);

  it.each(ATTACKS.map((attack, n) => ({ ...attack, version: `2.0.${String(n)}` })))(
    'refuses $what: $code',
    async ({ version, name = 'heads', code, why, prepare }) => {
      const source = await prepare({
        repository,
        version,
        offer: (...given) => offer(version, ...given),
        blocks,
      });
      const { status, error } = await install(name, version, source);
      expect({ status, code: error?.code }, error?.message).toEqual({ status: 'failed', code });
      expect(error?.message).toContain(why);
      const told = await until(
        () => events('model_install_failed').find(({ context }) => context['version'] === version),
        'the event',
        60_000,
      );
      expect(told).toMatchObject({ code, severity: 'error', context: { name, version } });
      const state = await until(
        () => states().find(({ install: one }) => one?.version === version && one.phase === 'failed'),
        'its end in the state',
        60_000,
      );
      expect(state).toMatchObject({
        active: sound,
        candidate: null,
        phase: 'failed',
        install: { name, version, reason: { code } },
      });
      expect(active()).toEqual(sound);
    },
    300_000,
  );

  it('looked at every picture with the sound one all the while, and keeps nothing of the others', async () => {
    await readingBy('heads');
    const all = observations();
    const first = all.findIndex(({ model }) => model?.name === 'heads');
    const digests = all.slice(first).flatMap(({ model }) => (model === null ? [] : [model.digest]));
    expect(new Set(digests)).toEqual(new Set([sound.digest]));
    expect(readdirSync(join(models, 'bundles'))).toEqual([sound.digest.replace('sha256:', '')]);
    expect(readdirSync(join(models, 'parts'))).toEqual([]);
    expect(existsSync(join(models, 'evil'))).toBe(false);
    expect(events('vision_exited')).toEqual([]);
  }, 240_000);

  it('returns by itself from one that crashes on the third picture after the swap', async () => {
    const name = 'big-alloc-when-red';
    offer('1.0.0', name);
    expect(await install(name, '1.0.0')).toMatchObject({ status: 'succeeded' });
    await until(() => observations().filter(({ model }) => model?.name === name).length >= 2, 'two', 120_000);
    isRed = true;
    const told = await until(() => events('model_install_rolled_back').at(-1), 'the event', 240_000);
    isRed = false;
    expect(told).toMatchObject({ code: 'model_probation_failed', severity: 'error', context: { name } });
    await until(() => states().at(-1)?.phase === 'rolled_back' && active()?.name === 'heads', 'it', 240_000);
    expect(states().at(-1)).toMatchObject({
      active: sound,
      candidate: null,
      install: { name, phase: 'rolled_back', reason: { code: 'model_probation_failed' } },
    });
    await readingBy('heads');
    expect(await install(name, '1.0.0')).toMatchObject({
      status: 'failed',
      error: { code: 'model_refused_before' },
    });
    expect(active()).toEqual(sound);
  }, 600_000);

  it('is the same process with the same model at the end, has stored each refusal, and lost no observation', async () => {
    expect((await agent.json('/api/v1/models/info'))['active']).toMatchObject(sound);
    // All of that has left the way open for what is sound.
    offer('1.0.0', 'depth');
    expect(await install('depth', '1.0.0')).toMatchObject({ status: 'succeeded' });
    const { seq } = await readingBy('depth');
    const seen = new Set(observations().map((one) => one.seq));
    expect(Array.from({ length: seq }, (_, n) => n + 1).filter((n) => !seen.has(n))).toEqual([]);
    expect(agent.lines.filter(({ msg }) => msg === 'agent started')).toHaveLength(1);
    const db = new Database(join(home.path, 'var', 'swellsight.db'), { readonly: true });
    const stored = db
      .prepare<[], { payload: string }>(
        "SELECT payload FROM events WHERE type = 'model_install_failed' ORDER BY seq",
      )
      .all()
      .map(({ payload }) => JSON.parse(payload) as Event);
    db.close();
    expect(stored.map(({ code }) => code)).toEqual(ATTACKS.map(({ code }) => code));
    recorder.finish();
  }, 240_000);
});
