import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AgentError } from '../../src/base/errors.ts';
import { unpackArchive } from '../../src/model/archive/unpack.ts';
import { entry, pax, setChecksum, tar } from '../fixtures/archive.ts';

const LIMITS = { maxBytes: 64 * 1024, maxFiles: 6, layout: 'bundle' } as const;
const RUNS = Number(process.env['SWELLSIGHT_ARCHIVE_MUTATIONS'] ?? 2000);

/** Each archive is synced to the disk many times, which is fast in memory. */
const MEMORY_DIR = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(MEMORY_DIR, 'archive-'));
  await mkdir(join(root, 'staging'));
  await writeFile(join(root, 'victim'), 'unchanged');
});
afterEach(() => rm(root, { recursive: true, force: true }));

const valid = tar(
  entry({ path: './', type: '5' }),
  entry({ path: 'golden/', type: '5' }),
  pax({ path: 'golden/picture.png', mtime: '1.5' }),
  entry({ path: 'golden/short.png', body: Buffer.alloc(700, 1) }),
  entry({ path: 'trunk.onnx', body: Buffer.alloc(3000, 2) }),
  entry({ path: 'model.json', body: '{}' }),
);
/** Offset of each header. */
const headers = [0, 512, 1024, 2048, 3584, 7168];

const hostilePath = fc.constantFrom(
  '../victim',
  '/tmp/victim',
  'golden/../../victim',
  'model.json',
  'MODEL.JSON',
  'golden',
  '.',
  '..',
  '..',
  '',
  'a\\..\\b',
  'golden//x',
  'x'.repeat(100),
);
/** New bytes for one field of a header. */
const field = fc.oneof(
  fc.record({ at: fc.constant(0), bytes: hostilePath.map((text) => Buffer.from(`${text}\0`)) }),
  fc.record({ at: fc.constant(345), bytes: hostilePath.map((text) => Buffer.from(`${text}\0`)) }),
  fc.record({ at: fc.constant(157), bytes: hostilePath.map((text) => Buffer.from(`${text}\0`)) }),
  fc.record({
    at: fc.constant(156),
    bytes: fc.constantFrom(...Array.from('01234567DgxLKNSVXAIM\0Z')).map((text) => Buffer.from(text)),
  }),
  fc.record({
    at: fc.constant(124),
    bytes: fc.bigInt(0n, 2n ** 33n).map((size) => Buffer.from(`${size.toString(8).padStart(11, '0')}\0`)),
  }),
  fc.record({
    at: fc.constant(124),
    bytes: fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
  }),
  fc.record({
    at: fc.nat(511),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
  }),
);
const mutation = fc.record({
  fields: fc.array(fc.record({ header: fc.constantFrom(...headers), field }), { minLength: 1, maxLength: 3 }),
  /** Mostly true: with a correct checksum, the checks after it are reached. */
  hasChecksum: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false)),
  cut: fc.oneof({ weight: 5, arbitrary: fc.constant(null) }, fc.nat(valid.length)),
  body: fc.option(fc.record({ at: fc.nat(valid.length - 1), byte: fc.nat(255) })),
});

it(
  `unpacks or refuses ${String(RUNS)} mutated archives, and never writes outside its directory`,
  async () => {
    const outcomes = { unpacked: 0, refused: 0 };
    let number = 0;
    await fc.assert(
      fc.asyncProperty(mutation, async ({ fields, hasChecksum, cut, body }) => {
        const bytes = Buffer.from(valid);
        if (body !== null) bytes[body.at] = body.byte;
        for (const {
          header,
          field: { at, bytes: value },
        } of fields) {
          value.copy(bytes, header + at, 0, Math.min(value.length, 512 - at));
          if (hasChecksum) setChecksum(bytes.subarray(header, header + 512));
        }
        const name = String(number++);
        const file = join(root, 'archive.tar');
        const into = join(root, 'staging', name);
        await writeFile(file, cut === null ? bytes : bytes.subarray(0, cut));
        const thrown: unknown = await unpackArchive(file, into, LIMITS).catch((error: unknown) => error);
        expect((await readdir(root)).sort()).toEqual(['archive.tar', 'staging', 'victim']);
        if (thrown === undefined) {
          outcomes.unpacked += 1;
          const paths = await readdir(into, { recursive: true, withFileTypes: true });
          expect(paths.length).toBeLessThanOrEqual(LIMITS.maxFiles + 1);
          for (const path of paths) expect(path.isFile() || path.isDirectory()).toBe(true);
          await rm(into, { recursive: true });
        } else {
          outcomes.refused += 1;
          expect(thrown).toBeInstanceOf(AgentError);
          expect(['model_archive_refused', 'model_too_large']).toContain((thrown as AgentError).code);
        }
        expect(await readdir(join(root, 'staging'))).toEqual([]);
      }),
      { numRuns: RUNS },
    );
    expect(await readFile(join(root, 'victim'), 'utf8')).toBe('unchanged');
    // The mutations must cause both outcomes.
    expect(outcomes.unpacked).toBeGreaterThan(RUNS / 100);
    expect(outcomes.refused).toBeGreaterThan(RUNS / 4);
  },
  Math.max(120_000, RUNS * 30),
);
