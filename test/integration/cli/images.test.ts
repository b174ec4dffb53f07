import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AnalyzedFile } from '../../../src/cli/analyze-files.ts';
import type { Finding } from '../../../src/control/doctor/finding.ts';
import { bundleDir } from '../../fixtures/bundles.ts';
import { httpServer, tcpServer } from '../../fixtures/camera-server.ts';
import { runCli } from '../../fixtures/cli.ts';

const GOLDEN = join(import.meta.dirname, '../../../models/swellsight-factory/1.0.0/golden');
/** Starts faster than the shipped model, for tests that do not check heights. */
const SMALL = bundleDir('heads');
const images = readdirSync(GOLDEN)
  .filter((name) => /\.(jpg|png|webp)$/.test(name))
  .sort();

let dir = '';
let imageDir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'swellsight-images-'));
  imageDir = join(dir, 'images');
  mkdirSync(imageDir);
  images.forEach((name, index) =>
    copyFileSync(
      join(GOLDEN, name),
      join(imageDir, `beach_${String(index + 1)}.${name.split('.').pop() ?? ''}`),
    ),
  );
  writeFileSync(join(imageDir, 'beach_10.jpg'), 'not an image');
  writeFileSync(join(imageDir, 'empty_11.jpg'), '');
  writeFileSync(join(imageDir, 'notes.txt'), 'not an image, and not named like one');
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

interface Analysis {
  readonly results: readonly AnalyzedFile[];
  readonly total_images: number;
  readonly failed_analyses: number;
}

describe('analyze', () => {
  it('analyses a directory in numeric order, and exits with 1 because of two invalid images', async () => {
    const { code, json } = await runCli(['analyze', imageDir, '--json'], { cwd: dir });
    const { results, total_images: total, failed_analyses: failed } = json() as Analysis;
    expect([code, total, failed]).toEqual([1, images.length + 2, 2]);
    expect(results.map(({ file }) => file.split('_').pop()?.split('.')[0])).toEqual(
      [...images.keys()].map((index) => String(index + 1)).concat('10', '11'),
    );
    for (const { file, status, reasons, wave, error } of results) {
      expect(wave.height_m).toBeNull();
      if (file.endsWith('beach_10.jpg'))
        expect([status, error?.code]).toEqual(['failed', 'image_unsupported']);
      else if (file.endsWith('empty_11.jpg'))
        expect([status, error?.code]).toEqual(['failed', 'image_empty']);
      else {
        expect(['measured', 'rejected']).toContain(status);
        if (status === 'measured') expect(reasons).toEqual(['uncalibrated']);
      }
    }
  });

  it('escapes file names in CSV', async () => {
    const odd = join(dir, '=1+1, "quoted".jpg');
    copyFileSync(join(GOLDEN, images[0]!), odd);
    const { code, stdout } = await runCli(['analyze', '=1+1, "quoted".jpg', '--csv', '--model', SMALL], {
      cwd: dir,
    });
    const [header, row, ...rest] = stdout.trim().split('\n');
    expect([code, rest]).toEqual([0, []]);
    expect(header).toMatch(/^file,status,reasons,height_m,/);
    expect(row).toMatch(/^"'=1\+1, ""quoted""\.jpg",(measured|rejected),/);
  });

  it('prints the reason of a missing height, and nothing on standard error', async () => {
    const { stdout, stderr } = await runCli(['analyze', join(GOLDEN, images[0]!), '--model', SMALL], {
      cwd: dir,
    });
    expect(stdout).toMatch(/ {2}no height: \w+\n$/);
    expect(stderr).toBe('');
  });

  it('rejects a file that is not a calibration', async () => {
    const file = join(dir, 'none.json');
    writeFileSync(file, '{"schema": "something/1"}');
    const { code, stderr } = await runCli(['analyze', imageDir, '--calibration', file, '--model', SMALL], {
      cwd: dir,
    });
    expect(code).toBe(1);
    expect(stderr).toContain('the document is not a calibration');
  });
});

describe('calibrate and analyze', () => {
  it('uses the median of three labels, with an interval', async () => {
    const rows = images
      .slice(0, 3)
      .map((name, index) => `${name},a,b${String(index)},g${String(index)},${String(1 + index / 2)}`);
    const labels = join(dir, 'labels.csv');
    writeFileSync(labels, ['file,camera,burst,group,height_m', ...rows].join('\n'));
    const out = join(dir, 'a.json');
    const calibrated = await runCli(['calibrate', GOLDEN, '--labels', labels, '--out', out, '--json'], {
      cwd: dir,
    });
    expect(calibrated.code, calibrated.stderr).toBe(0);
    expect(calibrated.json()).toMatchObject({
      cameras: [{ camera: 'a', bursts: rows.length, basis: 'site_median' }],
    });
    const { code, json, stderr } = await runCli(
      ['analyze', join(GOLDEN, images[0]!), '--calibration', out, '--json'],
      { cwd: dir },
    );
    expect(code, stderr).toBe(0);
    const [result] = (json() as Analysis).results;
    if (result?.status === 'measured') {
      expect(result.wave.height_basis).toBe('site_median');
      expect(result.wave.height_low_m!).toBeLessThan(result.wave.height_m!);
      expect(result.wave.height_high_m!).toBeGreaterThan(result.wave.height_m!);
    }
  });
});

describe('doctor', () => {
  it('reports every check, with a fix for each fault', async () => {
    const file = join(dir, 'doctor.json5');
    const camera = (id: string, path: string) => ({ id, kind: 'directory', path, replay: 'loop' });
    writeFileSync(
      file,
      JSON.stringify({
        stateDir: join(dir, 'state'),
        cameras: [camera('good', GOLDEN), camera('bad', join(dir, 'nothing-here'))],
        mqtt: { url: 'mqtt://127.0.0.1:1' },
        http: { port: 0 },
        inference: { providers: ['cpu'], threads: 1 },
      }),
    );
    const { code, json } = await runCli(['doctor', '--config', file, '--json'], { cwd: dir });
    expect(code).toBe(1);
    const { ok, checks } = json() as { ok: boolean; checks: Finding[] };
    const state = Object.fromEntries(checks.map((finding) => [finding.check, finding.state]));
    expect(ok).toBe(false);
    expect(state).toMatchObject({
      configuration: 'ok',
      node: 'ok',
      hardware: 'ok',
      http: 'ok',
      broker: 'fail',
      model: 'ok',
      'provider cpu': 'ok',
      'camera bad': 'fail',
    });
    expect(state['camera good']).not.toBe('fail');
    for (const name of ['disk', 'clock', 'ffmpeg']) expect(state).toHaveProperty(name);
    for (const finding of checks) expect(finding.state === 'ok').toBe(finding.mend === null);
  });

  it('shows the first failure of each camera with a remedy, and no deadline in its place', async () => {
    const notFound = await httpServer((_, response) => response.writeHead(404).end('nothing here'));
    const text = await httpServer((_, response) => response.end('<p>Session expired\x1b[2J, s3cretword</p>'));
    const { port } = await tcpServer(() => undefined).then(async (server) => {
      await server.stop();
      return server;
    });
    const camera = (id: string, kind: string, url: string) => ({ id, kind, url });
    const file = join(dir, 'cameras.json5');
    writeFileSync(
      file,
      JSON.stringify({
        stateDir: join(dir, 'state'),
        cameras: [
          camera('missing', 'http', `${notFound.url}/snap.jpg`),
          camera('refused', 'rtsp', `rtsp://127.0.0.1:${String(port)}/stream`),
          { ...camera('text', 'http', text.url), username: 'viewer', password: 's3cretword' },
        ],
        http: { port: 0 },
        inference: { providers: ['cpu'], threads: 1 },
      }),
    );
    const { code, stdout } = await runCli(['doctor', '--config', file], { cwd: dir });
    await Promise.all([notFound.stop(), text.stop()]);
    expect(code).toBe(1);
    const lines = stdout.split('\n').filter((line) => line.includes(' camera '));
    expect(lines).toEqual([
      expect.stringMatching(
        /camera missing +the camera answered with status 404 \[camera_unreachable\] -> check the path/,
      ),
      expect.stringMatching(/camera refused +.*ECONNREFUSED.* \[camera_unreachable\] -> check the port/),
      expect.stringMatching(
        /camera text +.*<p>Session expired \[2J, \*\*\*<\/p> \[camera_codec\] -> open url in a browser/,
      ),
    ]);
    expect(stdout).not.toMatch(/internal|abort|s3cret|\x1b/);
  }, 120_000);

  it('reports the faults of an invalid configuration, and exits with 78', async () => {
    const { code, stdout } = await runCli(['doctor'], { cwd: dir, env: { SWELLSIGHT_HTTP_PORT: 'x' } });
    expect(code).toBe(78);
    expect(stdout).toMatch(/^FAIL +configuration +http\.port: given "x"/);
  });
});
