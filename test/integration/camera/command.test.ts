import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { CommandCamera } from '../../../src/camera/command-camera.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { captureBurst, descendants, eventually, failureCode, errorText } from '../../fixtures/capture.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';

const directory = mkdtempSync(join(tmpdir(), 'swellsight-command-'));
const imageFile = join(directory, 'image.jpg');
writeFileSync(imageFile, await jpegOf(1));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
afterEach(() => expect(descendants(directory)).toEqual([]));

const open = (...command: string[]) => new CommandCamera({ id: 'cam', command }, { clock: systemClock });
const shell = (script: string, ...args: string[]) =>
  open('sh', '-c', script, join(directory, 'name'), ...args);

describe('CommandCamera', () => {
  it('returns the output of the program, started without a shell', async () => {
    const odd = join(directory, 'a $(touch x); b.jpg');
    writeFileSync(odd, readFileSync(imageFile));
    const { frames, failure } = await captureBurst(open('cat', odd), { frames: 2 });
    expect(errorText(failure)).toBe('null');
    expect(Buffer.from(frames[1]!.bytes)).toEqual(readFileSync(imageFile));
  });

  it('returns the last image of a program that writes several', async () => {
    const several = join(directory, 'several');
    const last = await jpegOf(2);
    writeFileSync(several, Buffer.concat([readFileSync(imageFile), last]));
    const { frames } = await captureBurst(open('cat', several));
    expect(Buffer.from(frames[0]!.bytes)).toEqual(last);
    const pipeline = '-v error -f lavfi -i testsrc=s=320x240 -frames:v 10 -f image2pipe -c:v mjpeg -';
    const film = await captureBurst(open('ffmpeg', ...pipeline.split(' ')));
    expect(errorText(film.failure)).toBe('null');
    expect(await sharp(film.frames[0]!.bytes).metadata()).toMatchObject({ width: 320, height: 240 });
    expect(film.frames[0]!.bytes.length).toBeLessThan(100_000);
  });

  it('reports the stderr of a program that fails', async () => {
    const { failure } = await captureBurst(shell('echo "no camera found" >&2; exit 7'));
    expect(failure).toMatchObject({
      code: 'camera_command',
      context: { exitCode: 7, stderr: 'no camera found' },
    });
    expect((failure as Error).message).toContain('exit code 7');
  });

  it.each([
    ['nothing', 'true'],
    ['no image', 'echo hello'],
    ['an image, but fails', 'cat "$1"; exit 1'],
    ['an image, and is killed', 'cat "$1"; kill -9 $$'],
  ])('rejects a program that writes %s', async (_, script) => {
    expect(await failureCode(shell(script, imageFile))).toBe('camera_command');
  });

  it('reports a program that is missing or not executable', async () => {
    const plain = join(directory, 'plain');
    writeFileSync(plain, 'x');
    chmodSync(plain, 0o644);
    for (const program of ['no-such-program', plain, directory]) {
      const { failure } = await captureBurst(open(program));
      expect(failure).toMatchObject({ code: 'camera_program_missing', context: { program } });
    }
  });

  it('stops a program with endless output', async () => {
    expect(await failureCode(shell('exec cat /dev/zero'))).toBe('camera_command');
  });

  it('kills a program that hangs, with its children, even if they ignore SIGTERM', async () => {
    const marker = join(directory, 'hang');
    const startedMs = performance.now();
    const camera = shell(
      `trap "" TERM; sh -c 'trap "" TERM; while :; do sleep 0.1; done' ${marker} & wait; wait`,
    );
    expect(await failureCode(camera, { timeoutS: 0.5 })).toBe('camera_timeout');
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    expect(descendants(marker)).toEqual([]);
  });

  it('does not wait for a child that outlives the program, and kills it', async () => {
    const marker = join(directory, 'left');
    const camera = shell(`sh -c 'while :; do sleep 0.1; done' ${marker} & cat "$1"`, imageFile);
    expect(await failureCode(camera)).toBeNull();
    await eventually('child gone', () => descendants(marker).length === 0, 2000);
  });

  it('hides the settings of the agent, which include secrets, from the program', async () => {
    process.env['SWELLSIGHT_MQTT_PASSWORD'] = 'hunter2';
    try {
      const { failure } = await captureBurst(shell('env >&2; exit 1'));
      const { stderr } = (failure as { context: { stderr: string } }).context;
      expect(stderr).not.toContain('hunter2');
      expect(await failureCode(shell('[ -n "$PATH" ] && cat "$1"', imageFile))).toBeNull();
    } finally {
      delete process.env['SWELLSIGHT_MQTT_PASSWORD'];
    }
  });
});
