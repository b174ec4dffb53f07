import { execFileSync } from 'node:child_process';
import { cp, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import { entry, tar } from '../../fixtures/archive.ts';
import { bundleDir, factoryBundleDir } from '../../fixtures/bundles.ts';
import { runCli } from '../../fixtures/cli.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'cli-model-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const model = (...args: string[]) => runCli(['model', ...args], { cwd: root, env: { TMPDIR: root } });

describe('model pack', () => {
  it('packs a bundle into the working directory, with the same inspection as the source directory', async () => {
    const { digest } = await openBundle(bundleDir('heads'));
    const packed = await model('pack', bundleDir('heads'), '--json');
    expect(packed.code).toBe(0);
    expect(packed.json()).toMatchObject({ ok: true, name: 'heads', version: '1.0.0', digest });
    expect(await readdir(root)).toEqual(['heads-1.0.0.tar']);
    const [ofDirectory, ofArchive] = await Promise.all([
      model('inspect', bundleDir('heads'), '--json'),
      model('inspect', 'heads-1.0.0.tar', '--json'),
    ]);
    expect(ofArchive.json()).toEqual(ofDirectory.json());
    expect(ofArchive.json()).toMatchObject({ ok: true, digest, faults: [], requires: { agent: '>=0.1.0' } });
    expect(await readdir(root)).toEqual(['heads-1.0.0.tar']);
  });

  it('reports all faults of a bundle and packs nothing', async () => {
    const dir = join(root, 'heads');
    await cp(bundleDir('heads'), dir, { recursive: true });
    await symlink('/etc/passwd', join(dir, 'LICENSE'));
    await writeFile(join(dir, 'analysis.onnx'), 'no model');
    const packed = await model('pack', 'heads', '--out', 'x.tar');
    expect([packed.code, packed.stdout]).toEqual([1, '']);
    expect(packed.stderr.trim().split('\n')).toEqual([
      'model_bundle_refused  LICENSE is a link',
      'model_digest_mismatch  the manifest states another digest for: analysis.onnx',
      expect.stringMatching(/^model_bundle_refused {2}analysis.onnx is/) as string,
    ]);
    expect(await readdir(root)).toEqual(['heads']);
  });

  it('packs a bundle whose requirements this machine does not meet', async () => {
    const dir = join(root, 'depth');
    await cp(bundleDir('depth'), dir, { recursive: true });
    const text = await readFile(join(dir, 'model.json'), 'utf8');
    const manifest = JSON.parse(text) as { requires: object };
    manifest.requires = { agent: '>=99.0.0', memory_mb: 10_000_000 };
    await writeFile(join(dir, 'model.json'), JSON.stringify(manifest));
    expect((await model('pack', 'depth')).code).toBe(0);
    expect((await model('inspect', 'depth', '--json')).json()).toMatchObject({
      ok: false,
      faults: [{ code: 'model_requires' }],
    });
  });

  it.each([
    ['no directory', ['pack'], 2],
    ['a missing directory', ['pack', 'nowhere'], 1],
    [
      'an archive inside of its bundle',
      ['pack', bundleDir('heads'), '--out', join(bundleDir('heads'), 'x.tar')],
      2,
    ],
    ['an unknown command', ['bake', 'x'], 2],
    ['an unknown option', ['inspect', 'x', '--deep'], 2],
  ])('prints an error for %s', async (_what, args, code) => {
    const result = await model(...args);
    expect([result.code, result.stdout]).toEqual([code, '']);
    expect(result.stderr).not.toBe('');
  });
});

describe('model inspect', () => {
  it('shows the content of the shipped bundle', async () => {
    const { code, stdout } = await model('inspect', factoryBundleDir);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^model {6}swellsight-factory 1\.0\.0/);
    expect(stdout).toContain('head       embedding from trunk.embedding');
  });

  it('reports faults of manifest and files together', async () => {
    await writeFile(join(root, 'model.json'), '{"format": 1, "name": "UPPER"}');
    await writeFile(join(root, '.hidden'), '');
    const { code, json } = await model('inspect', '.', '--json');
    expect(code).toBe(1);
    const { faults } = json() as { faults: { code: string; message: string }[] };
    expect(faults.map((fault) => fault.code)).toEqual(
      expect.arrayContaining(['model_bundle_refused', 'model_manifest_invalid']),
    );
    expect(faults.length).toBeGreaterThan(5);
  });

  it('rejects an archive with a path to the outside, and leaves no files', async () => {
    await writeFile(join(root, 'evil.tar'), tar(entry({ path: '../evil', body: 'x' })));
    const { code, json } = await model('inspect', 'evil.tar', '--json');
    expect(code).toBe(1);
    expect(json()).toMatchObject({ ok: false, digest: null, faults: [{ code: 'model_archive_refused' }] });
    expect(await readdir(root)).toEqual(['evil.tar']);
  });
});

describe('model test', () => {
  /** Tries one provider with one thread only: other tests cover the selection of the best. */
  const tryOnCpu = (path: string) =>
    runCli(['model', 'test', path, '--json'], {
      cwd: root,
      env: { TMPDIR: root, SWELLSIGHT_INFERENCE_PROVIDERS: '["cpu"]', SWELLSIGHT_INFERENCE_THREADS: '1' },
    });

  it('runs a bundle like a device', async () => {
    execFileSync('tar', ['-cf', join(root, 'heads.tar'), '-C', bundleDir('heads'), '.']);
    const { code, json } = await tryOnCpu('heads.tar');
    expect(code).toBe(0);
    expect(json()).toMatchObject({
      ok: true,
      name: 'heads',
      provider: 'cpu',
      golden: 2,
      readings: [
        { image: 'golden/picture-1.png', wave_direction: 'RIGHT', breaking_type: 'PLUNGING' },
        { image: 'golden/picture-2.png', wave_direction: 'LEFT', breaking_type: 'SPILLING' },
      ],
    });
    expect(await readdir(root)).toEqual(['heads.tar']);
  });

  it('reports a golden output that the model does not reproduce', async () => {
    const { code, stdout, stderr } = await tryOnCpu(bundleDir('wrong-golden'));
    expect([code, stdout]).toEqual([1, '']);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'model_golden_mismatch', message: expect.stringContaining('off by 0.500') as string },
    });
  });
});
