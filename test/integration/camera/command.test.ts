import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { CommandCamera } from '../../../src/camera/command-camera.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { collect, descendants, eventually, failureCode, told } from '../../fixtures/capture.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';

const folder = mkdtempSync(join(tmpdir(), 'swellsight-command-'));
const picture = join(folder, 'picture.jpg');
writeFileSync(picture, await jpegOf(1));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => expect(descendants(folder)).toEqual([]));

const open = (...command: string[]) => new CommandCamera({ id: 'cam', command }, { clock: systemClock });
const shell = (script: string, ...args: string[]) => open('sh', '-c', script, join(folder, 'name'), ...args);

describe('CommandCamera', () => {
  it('takes what the program writes, with arguments that no shell has touched', async () => {
    const odd = join(folder, 'a $(touch x); b.jpg');
    writeFileSync(odd, readFileSync(picture));
    const { frames, failure } = await collect(open('cat', odd), { frames: 2 });
    expect(told(failure)).toBe('null');
    expect(Buffer.from(frames[1]!.bytes)).toEqual(readFileSync(picture));
  });

  it('takes the last picture of a program that writes several', async () => {
    const several = join(folder, 'several');
    const last = await jpegOf(2);
    writeFileSync(several, Buffer.concat([readFileSync(picture), last]));
    const { frames } = await collect(open('cat', several));
    expect(Buffer.from(frames[0]!.bytes)).toEqual(last);
    const pipeline = '-v error -f lavfi -i testsrc=s=320x240 -frames:v 10 -f image2pipe -c:v mjpeg -';
    const film = await collect(open('ffmpeg', ...pipeline.split(' ')));
    expect(told(film.failure)).toBe('null');
    expect(await sharp(film.frames[0]!.bytes).metadata()).toMatchObject({ width: 320, height: 240 });
    expect(film.frames[0]!.bytes.length).toBeLessThan(100_000);
  });

  it('says what the program said when it fails', async () => {
    const { failure } = await collect(shell('echo "no camera found" >&2; exit 7'));
    expect(failure).toMatchObject({
      code: 'camera_command',
      context: { exitCode: 7, stderr: 'no camera found' },
    });
    expect((failure as Error).message).toContain('exit code 7');
  });

  it.each([
    ['nothing', 'true'],
    ['no picture', 'echo hello'],
    ['a picture, but fails', 'cat "$1"; exit 1'],
    ['and is killed', 'cat "$1"; kill -9 $$'],
  ])('refuses a program that writes %s', async (_, script) => {
    expect(await failureCode(shell(script, picture))).toBe('camera_command');
  });

  it('names a program that is missing or not executable', async () => {
    const plain = join(folder, 'plain');
    writeFileSync(plain, 'x');
    chmodSync(plain, 0o644);
    for (const program of ['no-such-program', plain, folder]) {
      const { failure } = await collect(open(program));
      expect(failure).toMatchObject({ code: 'camera_program_missing', context: { program } });
    }
  });

  it('stops one that writes without end', async () => {
    expect(await failureCode(shell('exec cat /dev/zero'))).toBe('camera_command');
  });

  it('kills one that hangs, with its children and those that ignore SIGTERM', async () => {
    const marker = join(folder, 'hang');
    const startedMs = performance.now();
    const camera = shell(
      `trap "" TERM; sh -c 'trap "" TERM; while :; do sleep 0.1; done' ${marker} & wait; wait`,
    );
    expect(await failureCode(camera, { timeoutS: 0.5 })).toBe('camera_timeout');
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    expect(descendants(marker)).toEqual([]);
  });

  it('does not wait for a child that the program left behind', async () => {
    const marker = join(folder, 'left');
    const camera = shell(`sh -c 'while :; do sleep 0.1; done' ${marker} & cat "$1"`, picture);
    expect(await failureCode(camera)).toBeNull();
    await eventually('child gone', () => descendants(marker).length === 0, 2000);
  });

  it('does not hand the settings of the agent on, secrets among them', async () => {
    process.env['SWELLSIGHT_MQTT_PASSWORD'] = 'hunter2';
    try {
      const { failure } = await collect(shell('env >&2; exit 1'));
      const { stderr } = (failure as { context: { stderr: string } }).context;
      expect(stderr).not.toContain('hunter2');
      expect(await failureCode(shell('[ -n "$PATH" ] && cat "$1"', picture))).toBeNull();
    } finally {
      delete process.env['SWELLSIGHT_MQTT_PASSWORD'];
    }
  });
});
