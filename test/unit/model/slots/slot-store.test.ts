import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../../../src/base/log.ts';
import { SlotStore } from '../../../../src/model/slots/slot-store.ts';
import type { InstallRecord, SlotRef, SlotsState } from '../../../../src/model/types.ts';

const log = createLog('silent');
const hexOf = (letter: string): string => letter.repeat(64);
const slot = (letter: string): SlotRef => ({
  name: 'heads',
  version: '1.0.0',
  digest: `sha256:${hexOf(letter)}`,
  trusted: true,
});
const updateId = '0f9a8a5e-6a5e-4a7e-9f43-3a8b7f4f2a10';
const install = (changes: Partial<InstallRecord> = {}): InstallRecord => ({
  updateId,
  name: 'heads',
  version: '1.1.0',
  digest: null,
  source: { kind: 'mqtt', sizeBytes: 12, digest: 'sha256:00' },
  phase: 'downloading',
  reason: null,
  startedAtMs: 1,
  phaseAtMs: 2,
  bytes: 3,
  totalBytes: null,
  candidate: null,
  trusted: false,
  shadow: null,
  probation: null,
  ...changes,
});
const full: SlotsState = {
  format: 1,
  active: slot('a'),
  previous: slot('b'),
  candidate: slot('c'),
  install: install({
    phase: 'probation',
    reason: { code: 'model_golden_mismatch', message: 'off by 1' },
    candidate: { name: 'heads', version: '1.1.0', digest: slot('c').digest },
    probation: { answers: 1, failures: 0, failedStarts: 0 },
    shadow: {
      frames: 3,
      failures: 0,
      activeP50Ms: 12.5,
      candidateP50Ms: null,
      heightMeanDifferenceM: -0.1,
      heightMaxDifferenceM: 0.2,
      directionDiffers01: 0,
      breakingDiffers01: null,
      calibrations: [
        {
          camera: 'north',
          labels: 9,
          outcome: 'refitted',
          refittedLabels: 8,
          looMaeBeforeM: 0.2,
          looMaeAfterM: null,
        },
      ],
    },
  }),
  refused: [
    { name: 'heads', version: '0.9.0', digest: slot('d').digest, code: 'model_probation_failed', atMs: 5 },
  ],
};

let root: string;
let dir: string;
let file: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'slots-'));
  dir = join(root, 'models');
  file = join(dir, 'slots.json');
});
afterEach(() => rm(root, { recursive: true, force: true }));

const open = (): SlotStore => SlotStore.open(dir, { log });
const names = (...path: string[]): string[] => readdirSync(join(dir, ...path)).sort();

describe('SlotStore', () => {
  it('opens with empty slots and writes nothing before the first update', () => {
    const store = open();
    expect(store.damaged).toBeNull();
    expect(store.state).toEqual({
      format: 1,
      active: null,
      previous: null,
      candidate: null,
      install: null,
      refused: [],
    });
    expect(existsSync(dir)).toBe(false);
  });

  it('keeps an update after it is opened again', () => {
    const store = open();
    expect(store.update(() => full)).toEqual(full);
    expect(store.state).toEqual(full);
    const again = open();
    expect(again.state).toEqual(full);
    expect(again.damaged).toBeNull();
    expect(names()).toEqual(['slots.json']);
  });

  it('passes the current state to each change', () => {
    const store = open();
    store.update((state) => ({ ...state, active: slot('a') }));
    store.update((state) => ({ ...state, previous: state.active, active: slot('b') }));
    expect(open().state).toMatchObject({ active: slot('b'), previous: slot('a') });
  });

  it('changes nothing when the change throws or returns an invalid state', () => {
    const store = open();
    store.update(() => full);
    expect(() =>
      store.update(() => {
        throw new Error('no');
      }),
    ).toThrow('no');
    const wrong = { ...full, active: { ...slot('a'), digest: 'sha256:short' } };
    expect(() => store.update(() => wrong)).toThrow(expect.objectContaining({ code: 'internal' }) as Error);
    const notANumber = { ...full, install: install({ startedAtMs: Number.NaN }) };
    expect(() => store.update(() => notANumber)).toThrow('install');
    expect(store.state).toEqual(full);
    expect(open().state).toEqual(full);
  });

  it('drops the oldest of more than 64 refused digests', () => {
    const store = open();
    const [one] = full.refused;
    if (one === undefined) throw new Error('no refused digest in the example state');
    store.update((state) => ({
      ...state,
      refused: Array.from({ length: 100 }, (_, n) => ({ ...one, atMs: n })),
    }));
    expect(store.state.refused).toHaveLength(64);
    expect(store.state.refused[0]?.atMs).toBe(36);
  });

  it('accepts a file without a checksum and with unknown keys of a newer agent', () => {
    mkdirSync(dir);
    writeFileSync(file, JSON.stringify({ ...full, later: true, install: { ...full.install, more: 1 } }));
    expect(open()).toMatchObject({ damaged: null, state: { active: slot('a'), install: { updateId } } });
  });

  const text = JSON.stringify(full);
  it.each<[string, string | null]>([
    ['no content', ''],
    ['only zero bytes', '\0'.repeat(4096)],
    ['half of its content', text.slice(0, text.length / 2)],
    ['an array instead of an object', '[]'],
    ['null as its content', 'null'],
    ['another format', text.replace('"format":1', '"format":2')],
    ['a slot without a valid digest', text.replace(slot('a').digest, '../../etc')],
    ['an unknown phase', text.replace('"probation"', '"flying"')],
    ['a path as the install id', text.replace(updateId, '../..')],
    ['a missing key', text.replace('"refused"', '"refusd"')],
    ['more than the maximum size', ' '.repeat(2_000_000) + text],
  ])('sets aside a file that has %s', (_what, content) => {
    mkdirSync(dir);
    writeFileSync(file, content ?? '');
    const store = open();
    expect(store.state.active).toBeNull();
    expect(store.damaged).toMatchObject({ code: 'model_slots_damaged' });
    expect(names()).toEqual(['slots.json.broken-1']);
    expect(readFileSync(`${file}.broken-1`, 'utf8')).toBe(content);
    store.update((state) => ({ ...state, active: slot('e') }));
    expect(open()).toMatchObject({ damaged: null, state: { active: slot('e') } });
  });

  it('detects one changed word, and a file that mixes two states after a power cut', () => {
    const store = open();
    store.update(() => full);
    const before = readFileSync(file, 'utf8');
    store.update(() => ({ ...full, active: slot('e'), refused: [] }));
    const after = readFileSync(file, 'utf8');
    const middle = before.indexOf('"install"');
    expect(after.indexOf('"install"')).toBe(middle);
    for (const text of [before.slice(0, middle) + after.slice(middle), before.replace('true', 'false')]) {
      writeFileSync(file, text);
      expect(open().damaged?.message).toContain('its checksum does not match');
    }
  });

  it.each<[string, () => void]>([
    ['a directory', () => mkdirSync(file)],
    ['a link to a valid file', () => symlinkSync(join(root, 'good.json'), file)],
    ['a dangling link', () => symlinkSync(join(root, 'nowhere'), file)],
    ['a named pipe', () => execFileSync('mkfifo', [file])],
  ])('sets aside %s without blocking or following it', (_what, make) => {
    mkdirSync(dir);
    writeFileSync(join(root, 'good.json'), text);
    make();
    const store = open();
    expect(store.damaged).toMatchObject({ code: 'model_slots_damaged' });
    store.update((state) => ({ ...state, active: slot('e') }));
    expect(open().state.active).toEqual(slot('e'));
    expect(readFileSync(join(root, 'good.json'), 'utf8')).toBe(text);
  });

  it('keeps at most nine broken files', () => {
    mkdirSync(dir);
    for (let time = 0; time < 12; time++) {
      writeFileSync(file, `broken ${String(time)}`);
      open();
    }
    expect(names()).toHaveLength(9);
    expect(readFileSync(`${file}.broken-9`, 'utf8')).toBe('broken 11');
  });

  it('opens when a file has the name of its directory, and fails to update', () => {
    writeFileSync(dir, '');
    const store = open();
    expect(store.state.active).toBeNull();
    expect(() => store.update(() => full)).toThrow(
      expect.objectContaining({ code: 'store_failed' }) as Error,
    );
    expect(store.state.active).toBeNull();
  });

  it('never makes the file shorter, so that a full disk still takes a change', () => {
    const store = open();
    store.update((state) => ({ ...state, active: slot('a') }));
    const sizeBytes = readFileSync(file).length;
    store.update(() => full);
    expect(readFileSync(file)).toHaveLength(sizeBytes);
    truncateSync(file, 100);
    expect(open().damaged).not.toBeNull();
  });

  it('returns the directory of a bundle and refuses anything but a digest', () => {
    const store = open();
    expect(store.bundleDir(slot('a').digest)).toBe(join(dir, 'bundles', hexOf('a')));
    for (const digest of [
      '',
      'sha256:',
      hexOf('a'),
      `sha256:${hexOf('A')}`,
      'sha256:../..',
      `${slot('a').digest}/..`,
    ])
      expect(() => store.bundleDir(digest)).toThrow(
        expect.objectContaining({ code: 'model_not_found' }) as Error,
      );
  });
});

describe('SlotStore.collect', () => {
  const writeFiles = (...paths: string[]): void => {
    for (const path of paths) {
      mkdirSync(join(dir, path, '..'), { recursive: true });
      writeFileSync(join(dir, path), 'bytes');
    }
  };
  const writeBundles = (...letters: string[]): void => {
    writeFiles(...letters.map((letter) => `bundles/${hexOf(letter)}/golden/a.png`));
  };

  it('keeps the bundles of the slots and removes the others', async () => {
    writeBundles('a', 'b', 'c', 'e', 'f');
    writeFiles('parts/old.part', 'staging/old/model.json', 'heads/1.0.0/model.json', 'trust/root.json');
    const store = open();
    store.update(() => ({ ...full, install: install({ phase: 'committed' }) }));
    await store.collect();
    expect(names('bundles')).toEqual(['a', 'b', 'c'].map(hexOf));
    expect([names('parts'), names('staging')]).toEqual([[], []]);
    expect(names()).toEqual(['bundles', 'heads', 'parts', 'slots.json', 'staging', 'trust']);
  });

  it('keeps the files of the current install until it ends', async () => {
    writeBundles('a', 'f');
    writeFiles(
      `parts/${updateId}.part`,
      `parts/${updateId}.etag`,
      'parts/other.part',
      `staging/${updateId}/model.json`,
    );
    const store = open();
    const ref = { name: 'heads', version: '1.1.0', digest: slot('f').digest };
    store.update(() => ({
      ...full,
      candidate: null,
      install: install({ phase: 'testing', candidate: ref }),
    }));
    await store.collect();
    expect(names('bundles')).toEqual(['a', 'f'].map(hexOf));
    expect(names('parts')).toEqual([`${updateId}.etag`, `${updateId}.part`]);
    expect(names('staging')).toEqual([updateId]);
    store.update((state) => ({ ...state, install: install({ phase: 'failed', candidate: ref }) }));
    await store.collect();
    expect([names('bundles'), names('parts'), names('staging')]).toEqual([[hexOf('a')], [], []]);
  });

  it('removes no bundle while the digest of the current install is unknown', async () => {
    writeBundles('a', 'f');
    const store = open();
    store.update(() => ({ ...full, candidate: null, install: install({ phase: 'verifying' }) }));
    await store.collect();
    expect(names('bundles')).toEqual(['a', 'f'].map(hexOf));
  });

  it('keeps all bundles after a damaged slots file until a model is installed', async () => {
    writeBundles('a', 'b');
    writeFileSync(file, 'broken');
    const store = open();
    await store.collect();
    expect(names('bundles')).toEqual(['a', 'b'].map(hexOf));
    store.update((state) => ({ ...state, active: slot('a') }));
    await store.collect();
    expect(names('bundles')).toEqual([hexOf('a')]);
  });

  it('removes links without following them', async () => {
    const outside = join(root, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'precious'), 'bytes');
    writeBundles('e');
    symlinkSync(outside, join(dir, 'bundles', hexOf('f')));
    symlinkSync(outside, join(dir, 'bundles', hexOf('e'), 'golden', 'link'));
    symlinkSync(outside, join(dir, 'parts'));
    const store = open();
    store.update((state) => ({ ...state, active: slot('a') }));
    await store.collect();
    expect(names('bundles')).toEqual([]);
    expect(await readdir(outside)).toEqual(['precious']);
  });

  it('completes a removal that a power cut interrupted', async () => {
    writeFiles(`bundles/.gone-${hexOf('a')}/model.json`);
    writeBundles('a', 'b');
    const store = open();
    store.update((state) => ({ ...state, active: slot('b') }));
    await store.collect();
    expect(names('bundles')).toEqual([hexOf('b')]);
  });

  it('resolves when no directory exists', async () => {
    await expect(open().collect()).resolves.toBeUndefined();
  });
});
