import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
const open = (path: string, part: { loop?: boolean; ffmpeg?: string; ffprobe?: string } = {}) =>
  new VideoCamera(
    {
      id: 'cam',
      path,
      loop: part.loop ?? true,
      programs: { ffmpeg: part.ffmpeg ?? 'ffmpeg', ffprobe: part.ffprobe ?? 'ffprobe' },
    },
    { clock },
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
