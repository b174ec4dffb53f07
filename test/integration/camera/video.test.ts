import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { VideoCamera } from '../../../src/camera/ffmpeg/video-camera.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { captureBurst, descendants, failureCode, errorText } from '../../fixtures/capture.ts';

const directory = mkdtempSync(join(tmpdir(), 'swellsight-video-'));
const film = join(directory, 'film.mp4');
spawnSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc=r=5:d=10:s=320x180', '-g', '50', film]);
afterAll(() => rmSync(directory, { recursive: true, force: true }));
afterEach(() => expect(descendants('ff')).toEqual([]));

let aheadMs = 0;
const clock = { ...systemClock, monoMs: () => systemClock.monoMs() + aheadMs };
/** Captures take no time, so that the positions are exact. */
const frozenClock = { ...systemClock, monoMs: () => aheadMs };
const open = (
  path: string,
  part: { loop?: boolean; ffmpeg?: string; ffprobe?: string; isFrozen?: boolean } = {},
) =>
  new VideoCamera(
    {
      id: 'cam',
      path,
      loop: part.loop ?? true,
      programs: { ffmpeg: part.ffmpeg ?? 'ffmpeg', ffprobe: part.ffprobe ?? 'ffprobe' },
    },
    { clock: part.isFrozen === true ? frozenClock : clock },
  );

describe('VideoCamera', () => {
  it('plays in real time, and restarts at the end', async () => {
    const camera = open(film);
    const positions: number[] = [];
    for (const stepMs of [0, 5000, 5000]) {
      aheadMs += stepMs;
      const { frames, failure } = await captureBurst(camera);
      expect(errorText(failure)).toBe('null');
      positions.push(Number.parseFloat(frames[0]?.origin ?? ''));
    }
    expect(positions[0]).toBeLessThan(0.5);
    expect(positions[1]).toBeGreaterThan(4.9);
    expect(positions[1]).toBeLessThan(8);
    expect(positions[2]).toBeLessThan(4);
  });

  /** Positions after 0, 3 and 8 seconds of a film, and the pictures there. */
  const play = async (path: string, loop = true) => {
    const camera = open(path, { loop, isFrozen: true });
    const found: { positionS: number; bytes: Buffer }[] = [];
    for (const stepMs of [0, 3000, 5000]) {
      aheadMs += stepMs;
      const { frames, failure } = await captureBurst(camera, { timeoutS: 60 });
      expect(errorText(failure)).toBe('null');
      found.push({
        positionS: Number.parseFloat(frames[0]?.origin ?? ''),
        bytes: Buffer.from(frames[0]?.bytes ?? []),
      });
    }
    return found;
  };
  const make = (name: string, ...args: string[]): string => {
    const path = join(directory, name);
    const source = ['-f', 'lavfi', '-i', 'testsrc=r=5:d=6:s=320x180'];
    expect(spawnSync('ffmpeg', ['-v', 'error', '-y', ...source, ...args, path]).status).toBe(0);
    return path;
  };
  const sound = ['-f', 'lavfi', '-i', 'sine=d=60'];

  it.each([
    ['WebM without a length', () => make('live.webm', '-live', '1')],
    ['raw H.264', () => make('raw.h264')],
    ['raw H.265 of 10 bits', () => make('raw.hevc', '-c:v', 'libx265', '-pix_fmt', 'yuv420p10le')],
    ['sound longer than the picture in MP4', () => make('sound.mp4', ...sound)],
    ['sound longer than the picture in Matroska', () => make('sound.mkv', ...sound)],
    ['MPEG-TS with one key frame', () => make('sound.ts', ...sound)],
    ['GIF', () => make('film.gif')],
  ])('repeats 6 s of picture: %s', async (_, path) => {
    const [first, second, third] = await play(path());
    expect(first?.positionS).toBeLessThan(1);
    expect(second?.positionS).toBeGreaterThan(2.9);
    expect(third?.positionS).toBeGreaterThan(1.9);
    expect(third?.positionS).toBeLessThan(2.6);
    const pictures = [first, second, third].map((one) => one?.bytes.toString('base64'));
    expect(new Set(pictures).size).toBe(3);
  });

  it('shows the last frame of a time lapse until its end, and then the first one again', async () => {
    const path = make('lapse.mp4', '-vf', 'fps=0.5', '-g', '1');
    const [first, second] = await play(path);
    expect(first?.bytes.equals(second?.bytes ?? Buffer.alloc(0))).toBe(false);
  });

  it('plays on in a file that grows, and starts again when another file takes its place', async () => {
    const whole = readFileSync(make('whole.mkv', '-c:v', 'mjpeg'));
    const path = join(directory, 'growing.mkv');
    writeFileSync(path, whole.subarray(0, whole.length / 2));
    const camera = open(path, { loop: false });
    expect(await failureCode(camera, { timeoutS: 60 })).toBeNull();
    appendFileSync(path, whole.subarray(whole.length / 2));
    aheadMs += 4500;
    const later = await captureBurst(camera, { timeoutS: 60 });
    expect(errorText(later.failure)).toBe('null');
    expect(Number.parseFloat(later.frames[0]?.origin ?? '')).toBeGreaterThan(4);
    aheadMs += 60_000;
    expect(await failureCode(camera, { timeoutS: 60 })).toBe('camera_ended');
    renameSync(make('next.mkv'), path);
    expect(await failureCode(camera, { timeoutS: 60 })).toBeNull();
  });

  it('reports that a file without a length is too large to be read in time', async () => {
    const slow = join(directory, 'slow-ffmpeg');
    writeFileSync(slow, '#!/bin/sh\nsleep 30\n', { mode: 0o755 });
    const { failure } = await captureBurst(open(make('live2.webm', '-live', '1'), { ffmpeg: slow }), {
      timeoutS: 5,
    });
    expect(failure).toMatchObject({
      code: 'camera_timeout',
      hint: expect.stringContaining('-c copy') as string,
    });
  });

  it('throws camera_ended at the end without a loop', async () => {
    const camera = open(film, { loop: false });
    expect(await failureCode(camera)).toBeNull();
    aheadMs += 10_000;
    expect(await failureCode(camera)).toBe('camera_ended');
  });

  it('reports a missing file, a file that is not a video, and a missing program', async () => {
    const text = join(directory, 'text.mp4');
    writeFileSync(text, 'not a video');
    expect(await failureCode(open(join(directory, 'none.mp4')))).toBe('camera_unreachable');
    expect(await failureCode(open(directory))).toBe('camera_unreachable');
    expect(await failureCode(open(text))).toBe('camera_codec');
    expect(await failureCode(open(film, { ffprobe: 'no-ffprobe' }))).toBe('camera_program_missing');
    expect(await failureCode(open(film, { ffmpeg: 'no-ffmpeg' }))).toBe('camera_program_missing');
  });
});
