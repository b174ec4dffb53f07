import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../fixtures/cli.ts';
import { randomSea } from '../../fixtures/random-sea.ts';
import { waveDataDir } from '../../fixtures/wave-data.ts';

interface Clip {
  readonly start_s: number;
  readonly duration_s: number;
  readonly frames: { readonly wanted: number; readonly used: number };
  readonly status: string;
  readonly reasons: readonly string[];
  readonly period: {
    readonly peak_s: number;
    readonly low_s: number;
    readonly high_s: number;
    readonly second_s: number | null;
    readonly mixed_sea: boolean;
  } | null;
  readonly breaking: {
    readonly white_share: number;
    readonly per_minute: number | null;
    readonly sets: number | null;
    readonly set_interval_s: number | null;
  } | null;
  readonly warnings: readonly string[];
}

const dir = mkdtempSync(join(tmpdir(), 'swellsight-sea-state-'));
afterAll(() => rmSync(dir, { recursive: true }));

const ffmpeg = (...args: readonly string[]): void => {
  execFileSync('ffmpeg', ['-v', 'error', '-y', ...args]);
};

async function measure(input: string, ...options: readonly string[]): Promise<readonly Clip[]> {
  const { code, stderr, json } = await runCli(['sea-state', input, '--json', ...options]);
  expect([code, stderr]).toEqual([0, '']);
  return (json() as { clips: readonly Clip[] }).clips;
}

async function measureOne(input: string, ...options: readonly string[]): Promise<Clip> {
  const clips = await measure(input, ...options);
  expect(clips).toHaveLength(1);
  return clips[0] as Clip;
}

describe('sea-state of a simulated sea', () => {
  const raw = join(dir, 'sea.grey');
  const film = join(dir, 'sea.mkv');
  const PERIOD_S = 10;
  beforeAll(() => {
    const { values, columns, rows } = randomSea({
      trains: [{ periodS: PERIOD_S, amount: 1 }],
      durationS: 300,
    });
    writeFileSync(raw, values);
    const input = [
      '-f',
      'rawvideo',
      '-pix_fmt',
      'gray',
      '-s',
      `${String(columns)}x${String(rows)}`,
      '-r',
      '2',
      '-i',
      raw,
    ];
    ffmpeg(...input, '-vf', 'scale=192:216:flags=bilinear', '-c:v', 'ffv1', film);
  });

  it('measures a film, a portrait film, a film of variable rate, and a directory of its frames', async () => {
    const portrait = join(dir, 'portrait.mkv');
    ffmpeg('-i', film, '-vf', 'scale=108:384', '-c:v', 'ffv1', portrait);
    const variable = join(dir, 'variable.mkv');
    // Every tenth frame is left out.
    ffmpeg('-i', film, '-vf', "select='mod(n,10)'", '-fps_mode', 'vfr', '-c:v', 'ffv1', variable);
    const frames = join(dir, 'frames');
    mkdirSync(frames);
    ffmpeg('-i', film, join(frames, 'frame_%d.jpg'));
    const found = [
      await measureOne(film),
      await measureOne(portrait),
      await measureOne(variable),
      await measureOne(frames, '--fps', '2'),
    ];
    expect(found.map(({ reasons }) => reasons)).toEqual([[], [], [], []]);
    for (const { period } of found) expect(Math.abs((period?.peak_s ?? 0) - PERIOD_S)).toBeLessThan(0.9);
    expect((found[2]?.frames.wanted ?? 0) - (found[2]?.frames.used ?? 0)).toBeGreaterThanOrEqual(59);
  });

  it('takes the rate of the camera from --fps, and divides long input into windows', async () => {
    // The film plays twice as fast as the sea.
    const fast = join(dir, 'fast.mkv');
    ffmpeg('-i', film, '-vf', 'setpts=N/(4*TB)', '-r', '4', '-c:v', 'ffv1', fast);
    expect((await measureOne(fast, '--fps', '2')).period?.peak_s).toBeCloseTo(PERIOD_S, 0);
    const clips = await measure(fast, '--fps', '1', '--window', '250');
    expect(clips.map(({ start_s, duration_s }) => [start_s, duration_s])).toEqual([
      [0, 250],
      [250, 350],
    ]);
  });

  it('shows one line for each window', async () => {
    const { stdout } = await runCli(['sea-state', film]);
    expect(stdout).toMatch(
      /^00:00:00 to 00:05:00 {2}period \d+\.\d s \(\d+\.\d to \d+\.\d s at 80 %\), energy period \d+\.\d s; \d\.\d breakers a minute; white water \d+\.\d %[^\n]*\n$/,
    );
  });

  it('reads a time stack whose name looks like a pattern of names', async () => {
    const stack = join(dir, 'stack %03d.png');
    // 300 columns of one sample each, from the middle of the picture.
    ffmpeg(
      '-i',
      film,
      '-vf',
      'crop=1:ih:iw/2:0,tile=600x1',
      '-frames:v',
      '1',
      '-f',
      'image2',
      '-update',
      '1',
      stack,
    );
    expect((await measureOne(stack, '--timestack')).duration_s).toBe(300);
  });

  it('uses drawn lines, which run from the sea to the shore', async () => {
    const down = await measureOne(film, '--line', '0.3,0.2,0.3,0.8', '--line', '0.7,0.2,0.7,0.8');
    expect(Math.abs((down.period?.peak_s ?? 0) - PERIOD_S)).toBeLessThan(0.9);
    expect((await measureOne(film, '--line', '0.3,0.8,0.3,0.2')).reasons).toEqual(['seaward']);
  });

  it('draws one figure for each window, also of a refused one', async () => {
    const plot = join(dir, 'plot.png');
    expect((await runCli(['sea-state', film, '--fps', '1', '--window', '250', '--plot', plot])).code).toBe(0);
    for (const file of [plot, join(dir, 'plot-2.png')])
      expect(readFileSync(file).subarray(0, 4).toString('latin1')).toBe('\x89PNG');
    const svg = join(dir, 'refused <1>.svg');
    const short = join(dir, 'short <&>.mkv');
    ffmpeg('-i', film, '-t', '30', '-c:v', 'ffv1', short);
    expect((await runCli(['sea-state', short, '--plot', svg])).code).toBe(0);
    expect(readFileSync(svg, 'utf8')).toContain('short &#60;&#38;&#62;.mkv');
    const { code, stderr } = await runCli(['sea-state', film, '--plot', join(dir, 'none', 'a.png')]);
    expect([code, stderr]).toEqual([2, expect.stringContaining('cannot be written')]);
  });

  it('refuses one frame, and a film with a long gap', async () => {
    const one = join(dir, 'one.mkv');
    ffmpeg('-i', film, '-frames:v', '1', '-c:v', 'ffv1', one);
    expect((await measureOne(one)).reasons).toContain('too_short');
    const gap = join(dir, 'gap.mkv');
    ffmpeg('-i', film, '-vf', "select='not(between(t,100,130))'", '-fps_mode', 'vfr', '-c:v', 'ffv1', gap);
    expect((await measureOne(gap)).reasons).toEqual(['gaps']);
  });

  it.each<[string, readonly string[], RegExp]>([
    ['a file that does not exist', [join(dir, 'none.mp4')], /does not exist/],
    ['an empty file', [join(dir, 'empty.mp4')], /empty/],
    ['a file that is no video', [join(dir, 'text.mp4')], /cannot read the file as a video|no video/],
    ['a damaged video', [join(dir, 'damaged.mp4')], /moov|damaged|index/],
    ['a directory without --fps', [dir], /--fps/],
    ['a time stack that is no image', [join(dir, 'text.mp4'), '--timestack'], /no image/],
    ['--fps 0', [join(dir, 'text.mp4'), '--fps', '0'], /--fps must be a number above 0/],
    ['a line outside the picture', [join(dir, 'text.mp4'), '--line', '0.5,0.5,0.5,1.5'], /--line needs/],
    ['a line without length', [join(dir, 'text.mp4'), '--line', '0.5,0.5,0.5,0.5'], /--line needs/],
    ['a line of a time stack', [join(dir, 'text.mp4'), '--line', '0,0,1,1', '--timestack'], /either/],
    ['a window that is too short', [join(dir, 'text.mp4'), '--window', '60'], /at least 180/],
  ])('has a clear error for %s', async (_what, args, message) => {
    writeFileSync(join(dir, 'empty.mp4'), '');
    writeFileSync(join(dir, 'text.mp4'), 'no video');
    const mp4 = join(dir, 'whole.mp4');
    ffmpeg('-i', film, '-t', '20', '-c:v', 'mpeg4', mp4);
    writeFileSync(join(dir, 'damaged.mp4'), readFileSync(mp4).subarray(0, 4000));
    const { code, stderr, stdout } = await runCli(['sea-state', ...args]);
    expect([code === 0, stdout]).toEqual([false, '']);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n {4}at /);
  });
});

const waves = waveDataDir();
if (waves === null) console.log('no real films of waves: set SWELLSIGHT_WAVES to their directory');

describe.skipIf(waves === null)('sea-state of real films and time stacks', () => {
  const boomerang = join(waves ?? '', 'boomerang-2fps.mp4');
  const small = join(dir, 'small.mkv');
  beforeAll(() => {
    if (waves !== null) ffmpeg('-i', boomerang, '-vf', 'scale=192:108:flags=area', '-c:v', 'ffv1', small);
  });
  const version = (name: string, ...filters: readonly string[]): string => {
    const file = join(dir, name);
    ffmpeg('-i', small, '-vf', filters.join(','), '-c:v', 'ffv1', file);
    return file;
  };

  it('Boomerang Beach: 13.7 s, in both halves of the picture and both parts of the film', async () => {
    const { period: found, breaking } = await measureOne(boomerang);
    expect(Math.abs((found?.peak_s ?? 0) - 13.7)).toBeLessThan(0.6);
    // Counted by eye in time stacks of four columns: 4.4 a minute.
    expect(Math.abs((breaking?.per_minute ?? 0) - 4.4)).toBeLessThan(1);
    expect(breaking?.white_share).toBeGreaterThan(0.02);
    expect(breaking?.white_share).toBeLessThan(0.06);
    expect([breaking?.sets, breaking?.set_interval_s]).toEqual([null, null]);
    const parts = [
      version('left.mkv', 'crop=iw/2:ih:0:0'),
      version('right.mkv', 'crop=iw/2:ih:iw/2:0'),
      version('first.mkv', 'trim=end=200'),
      version('last.mkv', 'trim=start=50.5', 'setpts=PTS-STARTPTS'),
    ];
    const periods: number[] = [];
    for (const part of parts) periods.push((await measureOne(part)).period?.peak_s ?? 0);
    expect(Math.max(...periods) - Math.min(...periods)).toBeLessThan(0.6);
    for (const period of periods) expect(Math.abs(period - 13.7)).toBeLessThan(0.6);
  }, 60_000);

  it('Boomerang Beach backwards: refused', async () => {
    expect(await measureOne(version('reversed.mkv', 'reverse'))).toMatchObject({
      status: 'rejected',
      reasons: ['seaward'],
    });
  }, 60_000);

  it('Boomerang Beach with a camera that sways: the same period', async () => {
    // 7 s from side to side, up to 5 pixels of the small picture: more than the waves move most cells.
    const swaying = version('sway.mkv', 'crop=iw-12:ih-8:6+3*sin(n/2.2):4+2*cos(n/2.2)');
    const { period, breaking, warnings } = await measureOne(swaying);
    expect(Math.abs((period?.peak_s ?? 0) - 13.7)).toBeLessThan(0.6);
    expect(breaking?.white_share).toBeLessThan(0.06);
    expect(warnings).toEqual([]);
  }, 60_000);

  it('Boomerang Beach with a camera that is turned, and in fog: refused', async () => {
    const turned = version('turned.mkv', "crop=iw-32:ih:'if(lt(n,250),0,32)':0");
    expect((await measureOne(turned)).reasons).toEqual(['view_changed']);
    const fog = version('fog.mkv', 'lutyuv=y=val*0.01+190');
    expect((await measureOne(fog)).reasons).toEqual(['fog']);
  }, 60_000);

  it('Fuengirola: refused, also when it plays in a loop', async () => {
    const film = join(waves ?? '', 'fuengirola.mp4');
    expect((await measureOne(film)).reasons).toEqual(['too_short']);
    const once = join(dir, 'once.mkv');
    ffmpeg('-i', film, '-vf', 'fps=4,scale=320:-2:flags=area', '-c:v', 'ffv1', once);
    const loop = join(dir, 'loop.mkv');
    ffmpeg('-stream_loop', '9', '-i', once, '-c', 'copy', loop);
    expect((await measureOne(loop)).reasons).toEqual(['repeated']);
  }, 60_000);

  it('Socoa: near the periods of CoastCams', async () => {
    const socoa = join(waves ?? '', 'socoa');
    const rows = readFileSync(join(socoa, 'coastcams.csv'), 'utf8').trim().split('\n').slice(1);
    const published = new Map(rows.map((row) => [row.split(',')[0], Number(row.split(',')[1])]));
    const differences: number[] = [];
    const widths: number[] = [];
    for (const file of readdirSync(socoa).filter((name) => name.endsWith('.jpeg'))) {
      const { period } = await measureOne(join(socoa, file), '--timestack');
      if (!period) continue;
      differences.push(period.peak_s - (published.get(file) ?? 0));
      widths.push(period.high_s - period.low_s);
    }
    expect(differences.length).toBeGreaterThanOrEqual(7);
    const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length;
    const sizes = differences.map(Math.abs).toSorted((a, b) => a - b);
    console.log(
      `${String(differences.length)} answered, mean difference ${mean.toFixed(2)} s, median ${String(sizes[sizes.length >> 1])} s`,
    );
    expect(Math.abs(mean)).toBeLessThan(1);
    expect(sizes[sizes.length >> 1]).toBeLessThan(1.5);
    expect(Math.max(...widths)).toBeGreaterThan(3);
  }, 60_000);
});
