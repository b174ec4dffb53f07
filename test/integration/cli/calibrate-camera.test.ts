import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CameraView } from '../../../src/geometry/camera-view.ts';
import { parsePoseFile } from '../../../src/geometry/pose-file.ts';
import { runCli } from '../../fixtures/cli.ts';
import { waveDataDir } from '../../fixtures/wave-data.ts';

const dir = mkdtempSync(join(tmpdir(), 'swellsight-calibrate-camera-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};

/** A camera 10 m above the origin that looks north, level, with a focal length of 1,000 pixels, centre 640, 360. */
const ROWS = [
  '0,50,0,640,560',
  '20,100,0,840,460',
  '-30,80,2,265,460',
  '10,60,6,806.7,426.7',
  '-12,40,1,340,585',
];
const csv = (header: string, rows: readonly string[]): string => [header, ...rows].join('\n');
const LENS = JSON.stringify({
  camera_matrix: [
    [1000, 0, 640],
    [0, 1000, 360],
    [0, 0, 1],
  ],
});

describe('calibrate-camera', () => {
  it('prints the pose and the residual of each point, and writes the pose', async () => {
    const out = join(dir, 'pose.json');
    const points = file(
      'points.csv',
      csv(
        'x,y,z,u,v,point',
        ROWS.map((row, index) => `${row},mark ${String(index)}`),
      ),
    );
    const args = ['calibrate-camera', points, '--lens', file('lens.json', LENS), '--size', '1280x720'];
    const { code, stdout, stderr } = await runCli([...args, '--out', out]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('position   x 0.00  y 0.00  z 10.00 m');
    expect(stdout).toContain('mark 3');
    expect(stdout).not.toContain('--size');
    const { pose, image } = parsePoseFile(readFileSync(out, 'utf8'));
    expect(pose.tiltDeg).toBeCloseTo(0, 1);
    expect(image).toEqual({ width: 1280, height: 720 });
    const { json } = await runCli([...args, '--json']);
    expect(json()).toEqual(JSON.parse(readFileSync(out, 'utf8')));
  });

  it('asks for the size of the image when it was not given', async () => {
    const points = file('points.csv', csv('x,y,z,u,v', ROWS));
    const { code, stdout } = await runCli(['calibrate-camera', points, '--lens', file('lens.json', LENS)]);
    expect(code).toBe(0);
    expect(stdout).toContain('add --size WIDTHxHEIGHT');
  });

  const good = csv('x,y,z,u,v', ROWS);
  it.each([
    ['a file that does not exist', null, LENS, 2, 'cannot be read'],
    ['an empty file', '', LENS, 2, 'no column x, y, z, u, v'],
    ['a missing column', csv('x,y,z,u', ROWS), LENS, 2, 'no column v'],
    [
      'a value that is no number',
      csv('x,y,z,u,v', [...ROWS, '1,2,3,4,five']),
      LENS,
      2,
      'line 7 of the control points: v is no number',
    ],
    [
      'an empty value',
      csv('x,y,z,u,v', [...ROWS, '1,2,,4,5']),
      LENS,
      2,
      'line 7 of the control points: z is no number',
    ],
    [
      'points on one line',
      csv('x,y,z,u,v', ['0,1,0,1,1', '0,2,0,2,2', '0,3,0,3,3', '0,4,0,4,4']),
      LENS,
      1,
      'lie on one line',
    ],
    ['a lens that is no JSON', good, '{', 1, 'the file of the lens is no JSON'],
    ['a lens without a matrix', good, '{}', 1, 'the file of the lens is invalid'],
    [
      'a focal length of 0',
      good,
      LENS.replace('1000', '0'),
      1,
      'the file of the lens is invalid at /camera_matrix/0/0',
    ],
  ])('refuses %s', async (_, points, lens, exit, message) => {
    const path = points === null ? join(dir, 'none.csv') : file('bad.csv', points);
    const { code, stderr } = await runCli(['calibrate-camera', path, '--lens', file('lens.json', lens)]);
    expect(stderr).toContain(message);
    expect(code).toBe(exit);
  });

  it.each([[], ['--size', '12 x 7'], ['--size', '0x720']])('refuses no lens with %j', async (...options) => {
    const args = ['calibrate-camera', file('points.csv', good), ...options];
    const { code, stderr } = await runCli(args);
    expect(code).toBe(2);
    expect(stderr).toContain('--size');
  });
});

const waves = waveDataDir();
describe.skipIf(waves === null)(
  'calibrate-camera with the station at Boomerang Beach (needs the wave data)',
  () => {
    it('finds the camera with residuals below 5 pixels', async () => {
      const { code, json } = await runCli([
        ...['calibrate-camera', join(waves ?? '', 'boomerang-gcp.csv')],
        ...['--lens', join(waves ?? '', 'boomerang-lens.json'), '--size', '2048x1080', '--json'],
      ]);
      expect(code).toBe(0);
      const text = JSON.stringify(json());
      expect((json() as { residual_px: { max: number } }).residual_px.max).toBeLessThan(5);
      // It stands on the dune, about 20 m above the sea, and looks east.
      const { pose, lens } = parsePoseFile(text);
      expect(pose.azimuthDeg).toBeCloseTo(86, -1);
      // The published line from the beach to the sea lies in the image.
      const view = new CameraView(lens, pose);
      for (const world of [
        [457_315.2, 6_422_161.5, 0],
        [457_599.4, 6_422_063.6, 0],
      ] as const) {
        const [u, v] = view.project(world) ?? [NaN, NaN];
        expect(u > 0 && u < 2048 && v > 400 && v < 1080).toBe(true);
      }
    });
  },
);
