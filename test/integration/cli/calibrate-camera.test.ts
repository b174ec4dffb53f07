import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { viewInImage } from '../../../src/geometry/image-scale.ts';
import { parsePoseFile } from '../../../src/geometry/pose-file.ts';
import type { WorldPoint } from '../../../src/geometry/types.ts';
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

it('doctor and check-config check the geometry of each camera', async () => {
  const nowhere = join(dir, 'nowhere.json');
  const camera = (id: string, geometry: object) => ({ id, kind: 'simulated', geometry });
  const place = { cameraHeightM: 16, horizonRow: 0.33, fovDeg: 60 };
  const cameras = [
    camera('good', { ...place, tide: { offsetM: 0.4 } }),
    camera('no-tide', place),
    camera('sky', { ...place, horizonRow: undefined, tiltDeg: -20, fovDeg: 30, tide: { offsetM: 0 } }),
    camera('no-file', { pose: nowhere }),
  ];
  const config = file('doctor.json', JSON.stringify({ stateDir: join(dir, 'state'), cameras }));
  const { json } = await runCli(['doctor', '--json', '--config', config]);
  const { checks } = json() as { checks: { check: string; state: string; detail: string }[] };
  const geometry = checks.filter(({ check }) => check.startsWith('geometry '));
  expect(geometry.map(({ check, state }) => [check, state])).toEqual([
    ['geometry good', 'ok'],
    ['geometry no-tide', 'warn'],
    ['geometry sky', 'fail'],
    ['geometry no-file', 'fail'],
  ]);
  expect(geometry[0]?.detail).toMatch(/lower edge of the frame is \d+ m away; the water stands at 0.4 m/);
  const checked = await runCli(['check-config', '--json', '--config', config]);
  expect([checked.code, checked.json()]).toMatchObject([
    0,
    {
      warnings: [
        `camera no-file: the geometry is not used: a file of the geometry cannot be read (${nowhere})`,
      ],
    },
  ]);
}, 120_000);

const waves = waveDataDir();
const FILM = { width: 1280, height: 676 };

/** A point of the line whose time stack is published, metres from the beach. */
function alongLine(metres: number): WorldPoint {
  const [from, to] = [
    [457_315.2, 6_422_161.5],
    [457_599.4, 6_422_063.6],
  ] as const;
  const share = metres / Math.hypot(to[0] - from[0], to[1] - from[1]);
  return [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1]), 0];
}

describe.skipIf(waves === null)('the station at Boomerang Beach (needs the wave data)', () => {
  const film = join(waves ?? '', 'boomerang-2fps.mp4');
  const poseFile = join(dir, 'boomerang.json');
  const station = () =>
    JSON.parse(readFileSync(poseFile, 'utf8')) as {
      readonly residual_px: { readonly max: number };
      readonly position_m: readonly [number, number, number];
    };
  beforeAll(async () => {
    const { code } = await runCli([
      ...['calibrate-camera', join(waves ?? '', 'boomerang-gcp.csv')],
      ...['--lens', join(waves ?? '', 'boomerang-lens.json'), '--size', '2048x1080', '--out', poseFile],
    ]);
    expect(code).toBe(0);
  });

  it('is found with residuals below 5 pixels', () => {
    expect(station().residual_px.max).toBeLessThan(5);
    // It stands about 20 m above the sea and looks east.
    const { pose } = parsePoseFile(readFileSync(poseFile, 'utf8'));
    expect(pose.azimuthDeg).toBeCloseTo(86, -1);
    expect(pose.position[2]).toBeCloseTo(20, -1);
  });

  it('sees white water where the published time stack of this film shows it', () => {
    const view = viewInImage(parsePoseFile(readFileSync(poseFile, 'utf8')), FILM);
    const box = { x: 300, y: 240, width: 700, height: 180 };
    const crop = `crop=${String(box.width)}:${String(box.height)}:${String(box.x)}:${String(box.y)}`;
    const grey = execFileSync(
      'ffmpeg',
      ['-v', 'error', '-i', film, '-vf', `format=gray,${crop}`, '-f', 'rawvideo', '-'],
      { maxBuffer: 2 ** 30 },
    );
    const size = box.width * box.height;
    const frames = grey.length / size;
    const whiteAt = (metres: number): number => {
      const [u, v] = view.project(alongLine(metres)) ?? [NaN, NaN];
      const at = (Math.round(v) - box.y) * box.width + Math.round(u) - box.x;
      const levels = Array.from({ length: frames }, (_, frame) => grey[frame * size + at] ?? NaN);
      const dark = levels.toSorted((a, b) => a - b)[frames >> 3] ?? NaN;
      return levels.filter((level) => level > dark + 60).length / frames;
    };
    const meanWhite = (from: number, to: number): number => {
      const places = Array.from({ length: (to - from) / 10 + 1 }, (_, index) => whiteAt(from + 10 * index));
      return places.reduce((sum, share) => sum + share, 0) / places.length;
    };
    expect(meanWhite(80, 120)).toBeGreaterThan(0.1);
    expect(meanWhite(30, 170)).toBeGreaterThan(10 * meanWhite(190, 270));
  });

  it('measures breakers of a plausible height, and reports a pose at a third of its height', async () => {
    const pose = station();
    const measure = async (heightM: number): Promise<string> => {
      const [x, y] = pose.position_m;
      const file = join(dir, 'changed.json');
      writeFileSync(file, JSON.stringify({ ...pose, position_m: [x, y, heightM] }));
      return (await runCli(['sea-state', film, '--pose', file, '--tide', '0'])).stdout;
    };
    const right = await measure(pose.position_m[2]);
    const [metres = NaN, low = NaN, high = NaN] = (
      /breaker height (\S+) m \((\S+) to (\S+) m\)/.exec(right)?.slice(1) ?? []
    ).map(Number);
    // A swell of 14 s that breaks 100 to 170 m from the beach.
    expect(metres).toBeGreaterThan(1.2);
    expect(metres).toBeLessThan(3.5);
    expect(low).toBeLessThan(0.85 * metres);
    expect(high).toBeGreaterThan(1.15 * metres);
    expect(right).not.toContain('check the pose');
    expect(await measure(pose.position_m[2] / 3)).toContain('check the pose: the speed of the breakers');
  });

  it.each([
    [['--pose', 'none.json'], 2, 'cannot be read'],
    [['--tide', '1'], 2, '--tide needs --pose'],
    [['--pose', 'POSE', '--tide', 'high'], 2, '--tide must be a number of metres'],
    [['--pose', 'POSE', '--fps', '2'], 2, '--pose needs a video'],
    [['--pose', 'NO SIZE'], 1, 'run calibrate-camera with --size'],
    [['--pose', 'CROPPED'], 1, 'the pose is for images of 2048x2048'],
  ])('refuses %j', async (options, exit, message) => {
    const changed = (name: string, image: object | null): string =>
      file(name, JSON.stringify({ ...station(), image }));
    const files: Record<string, string> = {
      POSE: poseFile,
      'NO SIZE': changed('no-size.json', null),
      CROPPED: changed('cropped.json', { width: 2048, height: 2048 }),
    };
    const args = options.map((option) => files[option] ?? option);
    const { code, stderr } = await runCli(['sea-state', film, ...args]);
    expect(stderr).toContain(message);
    expect(code).toBe(exit);
  });
});
