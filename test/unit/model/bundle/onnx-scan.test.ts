import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { scanOnnx } from '../../../../src/model/bundle/onnx-scan.ts';
import { bundleDir, factoryBundleDir } from '../../../fixtures/bundles.ts';
import { randomFrom } from '../../../fixtures/labelled.ts';
import { mutate } from '../../../fixtures/mutate.ts';
import { externalTensor, field, model, varint } from '../../../fixtures/protobuf.ts';
import { hasPythonModules, runPython } from '../../../fixtures/python.ts';

/** The long form: SWELLSIGHT_MUTATIONS=1000000. */
const MUTATIONS = Number(process.env['SWELLSIGHT_MUTATIONS'] ?? 1000);
const BATCH = 20_000;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onnx-scan-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function scan(bytes: Uint8Array): Promise<readonly string[]> {
  const path = join(dir, 'stage.onnx');
  await writeFile(path, bytes);
  return (await scanOnnx(path, 'stage.onnx')).externalFiles;
}

describe('scanOnnx', () => {
  it.each([join(factoryBundleDir, 'trunk.onnx'), join(bundleDir('loop'), 'analysis.onnx')])(
    'finds no external file in %s',
    async (path) => {
      expect((await scanOnnx(path, 'stage.onnx')).externalFiles).toEqual([]);
    },
  );

  const tensor = externalTensor('weights.bin');
  const subgraph = field(6, field(5, tensor));
  it.each([
    ['an initializer', model(field(5, tensor))],
    ['the values of a sparse initializer', model(field(15, field(1, tensor)))],
    ['a tensor attribute', model(field(1, field(5, field(5, tensor))))],
    ['a list of tensors', model(field(1, field(5, field(10, tensor))))],
    ['a graph attribute', model(field(1, field(5, subgraph)))],
    [
      'a graph within a graph',
      model(field(1, field(5, field(6, field(1, field(5, field(11, field(5, tensor)))))))),
    ],
    ['a function', Buffer.concat([model(), field(25, field(7, field(5, field(5, tensor))))])],
    ['training graphs', Buffer.concat([model(), field(20, field(2, field(5, tensor)))])],
    ['a second graph, which is merged into the first', Buffer.concat([model(), field(7, field(5, tensor))])],
    [
      'a tensor after a megabyte of weights',
      model(field(5, field(9, Buffer.alloc(1_000_000, 0xff))), field(5, tensor)),
    ],
  ])('finds a reference in %s', async (_where, bytes) => {
    expect(await scan(bytes)).toEqual(['weights.bin']);
  });

  it('finds a reference at every position relative to the window', async () => {
    for (const padding of [65_470, 65_500, 65_520, 65_530, 65_535, 65_536]) {
      const bytes = model(field(5, field(9, Buffer.alloc(padding))), field(5, tensor));
      expect(await scan(bytes)).toEqual(['weights.bin']);
    }
  });

  const nestedGraphs = (depth: number): Buffer =>
    depth === 0 ? Buffer.alloc(0) : field(1, field(5, field(6, nestedGraphs(depth - 1))));
  it.each([
    ['an empty file', Buffer.alloc(0), 'has no graph'],
    ['text', Buffer.from('{"not": "onnx"}'), 'stage.onnx'],
    ['zeros', Buffer.alloc(100), 'is not an ONNX model'],
    ['a field longer than the file', Buffer.concat([varint(7 * 8 + 2), varint(2 ** 40)]), 'is truncated'],
    ['a varint without an end', Buffer.alloc(30, 0xff), 'is truncated'],
    ['deeply nested graphs', model(nestedGraphs(40)), 'is nested too deeply'],
    ['code compiled for one provider', model(field(1, field(4, 'EPContext'))), 'EPContext'],
    [
      'a file name that is not UTF-8',
      model(field(5, field(13, field(1, 'location'), field(2, Buffer.of(0xc0, 0xaf))))),
      'not UTF-8',
    ],
    ['a very long file name', model(field(5, externalTensor('a'.repeat(5000)))), 'a name that is too long'],
  ])('refuses %s', async (_what, bytes, message) => {
    const error = await scan(bytes).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AgentError);
    expect(error).toMatchObject({
      code: 'model_bundle_refused',
      message: expect.stringContaining(message) as string,
    });
  });

  const dims = (...sizes: number[]): Buffer =>
    Buffer.concat(sizes.flatMap((size) => [varint(8), varint(size)]));
  const packed = (...sizes: number[]): Buffer => field(1, ...sizes.map(varint));
  const sparse = (...sizes: number[]): Buffer =>
    field(15, Buffer.concat(sizes.flatMap((size) => [varint(24), varint(size)])));
  it.each([
    ['a tensor of 2 GiB', field(5, dims(2 ** 10, 2 ** 20)), 'announces a tensor'],
    ['a packed tensor of 2 GiB', field(5, packed(2 ** 10, 2 ** 20)), 'announces a tensor'],
    ['a tensor above the largest number', field(5, packed(2 ** 40, 2 ** 40, 2 ** 40)), 'announces a tensor'],
    ['a huge tensor with a dimension of zero', field(5, packed(2 ** 40, 0)), 'announces a tensor'],
    [
      'a tensor of a hundred axes',
      field(5, packed(...Array.from({ length: 100 }, () => 1))),
      'announces a tensor',
    ],
    ['a sparse tensor of a terabyte', sparse(2 ** 20, 2 ** 20), 'announces a tensor'],
    [
      'a sparse tensor in an attribute',
      field(1, field(5, field(22, varint(24), varint(2 ** 40)))),
      'announces a tensor',
    ],
    [
      '50,000 nodes in a row',
      Buffer.concat(Array.from({ length: 50_000 }, () => field(1, field(4, 'Sin')))),
      '20000 nodes',
    ],
    [
      '50,000 nodes in functions and branches',
      Buffer.concat(
        Array.from({ length: 250 }, () =>
          field(1, field(5, field(6, ...Array.from({ length: 200 }, () => field(1, field(4, 'Sin')))))),
        ),
      ),
      '20000 nodes',
    ],
  ])('refuses %s', async (_what, graph, message) => {
    await expect(scan(model(graph))).rejects.toMatchObject({
      code: 'model_bundle_refused',
      message: expect.stringContaining(message) as string,
    });
  });

  it('accepts a tensor of a realistic size', async () => {
    expect(await scan(model(field(5, dims(4096, 4096)), field(5, packed(1280, 1000))))).toEqual([]);
  });

  /** The tag or length `value` with one more byte than it needs. */
  const overlong = (value: number): Buffer => {
    const bytes = varint(value);
    return Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) ?? 0) | 0x80, 0])]);
  };
  const entry = (...parts: Buffer[]): Buffer => model(field(5, field(13, ...parts)));
  const location = [field(1, 'location'), field(2, 'weights.bin')];
  it.each([
    ['an unknown field behind the location', entry(...location, field(3, 'other'))],
    ['a number behind the location', entry(...location, varint(3 * 8), varint(1))],
    ['a second key', entry(...location, field(1, 'offset'))],
    ['a second value', entry(...location, field(2, 'other'))],
    ['an overlong tag', entry(overlong(10), varint(8), Buffer.from('location'), field(2, 'weights.bin'))],
    ['an overlong length', entry(varint(10), overlong(8), Buffer.from('location'), field(2, 'weights.bin'))],
    ['an overlong tag of a graph', Buffer.concat([overlong(7 * 8 + 2), varint(0)])],
    ['a tag of 2^32 that ends like an entry', model(field(5, field(2 ** 29 + 13, ...location)))],
    ['a tag of 2^32 that ends like a graph', field(2 ** 29 + 7, field(5, externalTensor('weights.bin')))],
    ['a number of more than 64 bits', Buffer.concat([varint(8), Buffer.alloc(9, 0xff), Buffer.from([4])])],
  ])('refuses %s', async (_what, bytes) => {
    await expect(scan(bytes)).rejects.toMatchObject({ code: 'model_bundle_refused' });
  });

  it('accepts a negative number, which takes ten bytes', async () => {
    const negative = Buffer.concat([varint(8), Buffer.alloc(9, 0xff), Buffer.from([1])]);
    expect(await scan(Buffer.concat([negative, model()]))).toEqual([]);
  });

  it.skipIf(!hasPythonModules('onnx'))(
    `finds all that protobuf finds in the ones of ${MUTATIONS} mutated files that it accepts`,
    async () => {
      const { uniform } = randomFrom(20261130);
      const originals = [
        model(field(5, externalTensor('weights.bin')), field(1, field(4, 'EPContext'))),
        model(field(1, field(4, 'Conv'), field(5, field(5, externalTensor('a'))))),
        model(field(15, field(1, externalTensor('b')), field(2, externalTensor('c')))),
      ];
      const script = join(import.meta.dirname, '../../../fixtures/onnx-references.py');
      const list = join(dir, 'mutated.txt');
      let compared = 0;
      for (let done = 0; done < MUTATIONS; done += BATCH) {
        const files = Array.from({ length: Math.min(BATCH, MUTATIONS - done) }, (_, at) =>
          mutate(originals[at % originals.length] ?? Buffer.alloc(0), uniform),
        );
        await writeFile(list, files.map((bytes) => bytes.toString('base64')).join('\n'));
        const seen = JSON.parse(await runPython(script, [list], 10 * 60_000)) as (string[] | null)[];
        expect(seen).toHaveLength(files.length);
        for (const [at, bytes] of files.entries()) {
          const found = await scan(bytes).catch(() => null);
          const references = seen[at] ?? null;
          if (found === null || references === null) continue;
          compared += 1;
          expect(found).toEqual(expect.arrayContaining(references));
        }
      }
      expect(compared).toBeGreaterThan(0);
    },
    MUTATIONS * 50 + 60_000,
  );

  it('does not follow a link', async () => {
    const link = join(dir, 'link.onnx');
    await symlink(join(factoryBundleDir, 'trunk.onnx'), link);
    await expect(scanOnnx(link, 'link.onnx')).rejects.toMatchObject({ code: 'ELOOP' });
  });

  it('returns a result or model_bundle_refused for any damaged file', async () => {
    const whole = await readFile(join(bundleDir('heads'), 'analysis.onnx'));
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), async (at, byte, cut) => {
        const damaged = Buffer.from(cut ? whole.subarray(0, at) : whole);
        if (!cut) damaged[at] = byte;
        const result = await scan(damaged).catch((error: unknown) => (error as AgentError).code);
        expect(result === 'model_bundle_refused' || Array.isArray(result)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
