import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import sharp from 'sharp';
import { DirectoryCamera } from '../../../src/camera/directory-camera.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { captureBurst, failureCode, errorText } from '../../fixtures/capture.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';

const [one, two, three] = [await jpegOf(1), await jpegOf(2), await jpegOf(3)];
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'swellsight-directory-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const put = (name: string, bytes: Buffer | string) => writeFileSync(join(dir, name), bytes);
const open = (replay: 'watch' | 'once' | 'loop', clock = systemClock) =>
  new DirectoryCamera({ id: 'cam', path: dir, replay, maxAgeMs: 600_000 }, { clock });
const origins = async (camera: DirectoryCamera, frames: number): Promise<(string | undefined)[]> =>
  (await captureBurst(camera, { frames, timeoutS: 0.6 })).frames.map(({ origin }) => origin);

describe('DirectoryCamera with replay: watch', () => {
  it('yields the newest complete image, each one once', async () => {
    put('a.jpg', one);
    await new Promise((resolve) => setTimeout(resolve, 20));
    put('b.jpg', two);
    const camera = open('watch');
    expect(await origins(camera, 1)).toEqual(['b.jpg']);
    expect(await failureCode(camera, { timeoutS: 0.4 })).toBe('camera_no_frame');
    put('a2.png', await sharp(one).png().toBuffer());
    expect(await origins(camera, 1)).toEqual(['a2.png']);
    // Many cameras overwrite the same file.
    put('b.jpg', three);
    const { frames } = await captureBurst(camera);
    expect(Buffer.from(frames[0]!.bytes)).toEqual(three);
  });

  it('waits until a partly written file is complete', async () => {
    put('part.jpg', one.subarray(0, 500));
    const camera = open('watch');
    expect(await failureCode(camera, { timeoutS: 0.4 })).toBe('camera_no_frame');
    const running = captureBurst(camera, { timeoutS: 5 });
    setTimeout(() => appendFileSync(join(dir, 'part.jpg'), one.subarray(500)), 300);
    const { frames } = await running;
    expect(Buffer.from(frames[0]!.bytes)).toEqual(one);
  });

  it('yields the newest complete image while a newer one is incomplete, and the newer one later', async () => {
    put('complete.jpg', one);
    put('growing.jpg', two.subarray(0, 100));
    const camera = open('watch');
    expect(await origins(camera, 1)).toEqual(['complete.jpg']);
    put('growing.jpg', two);
    expect(await origins(camera, 1)).toEqual(['growing.jpg']);
  });

  it('yields a file that is renamed into place', async () => {
    const camera = open('watch');
    const running = captureBurst(camera, { timeoutS: 5 });
    put('.upload.tmp', one);
    setTimeout(() => renameSync(join(dir, '.upload.tmp'), join(dir, 'x.webp')), 300);
    expect((await running).frames[0]?.origin).toBe('x.webp');
  });

  it('ignores dotfiles, other types, directories, pipes, broken links and wrong extensions', async () => {
    put('.hidden.jpg', one);
    put('notes.txt', one);
    put('wrong-type.jpg', 'GIF89a');
    put('empty.jpg', '');
    mkdirSync(join(dir, 'directory.jpg'));
    symlinkSync(join(dir, 'nowhere'), join(dir, 'link.jpg'));
    spawnSync('mkfifo', [join(dir, 'pipe.jpg')]);
    expect(await failureCode(open('watch'), { timeoutS: 0.4 })).toBe('camera_no_frame');
    expect(await failureCode(open('once'), { timeoutS: 2 })).toBe('camera_ended');
    expect(await failureCode(open('loop'), { timeoutS: 2 })).toBe('camera_no_frame');
    put('good.jpg', one);
    expect(await origins(open('watch'), 1)).toEqual(['good.jpg']);
  });

  it('ignores old images at the start, and finds new ones after any step of the clock', async () => {
    put('old.jpg', one);
    let aheadMs = 3_600_000;
    const clock = { ...systemClock, nowMs: () => Date.now() + aheadMs };
    const camera = open('watch', clock);
    const { failure } = await captureBurst(camera, { timeoutS: 0.4 });
    expect(failure).toMatchObject({ code: 'camera_no_frame' });
    expect(errorText(failure)).toContain('replay');
    aheadMs = 0;
    expect(await origins(camera, 1)).toEqual(['old.jpg']);
    aheadMs = -86_400_000;
    put('new.jpg', two);
    expect(await origins(camera, 1)).toEqual(['new.jpg']);
    aheadMs = 86_400_000;
    put('newer.jpg', two);
    expect(await origins(camera, 1)).toEqual(['newer.jpg']);
  });
});

describe('DirectoryCamera with replay: once or loop', () => {
  it('yields all files in natural order and ends', async () => {
    for (const name of ['f10.jpg', 'f9.jpg', 'F1.JPEG', 'f100.jpg']) put(name, one);
    const camera = open('once');
    expect(await origins(camera, 3)).toEqual(['F1.JPEG', 'f9.jpg', 'f10.jpg']);
    const { frames, failure } = await captureBurst(camera, { frames: 3 });
    expect(frames.map(({ origin }) => origin)).toEqual(['f100.jpg']);
    expect(failure).toMatchObject({ code: 'camera_ended' });
  });

  it('restarts in a loop with the present files', async () => {
    put('1.jpg', one);
    put('2.jpg', two);
    const camera = open('loop');
    expect(await origins(camera, 2)).toEqual(['1.jpg', '2.jpg']);
    rmSync(join(dir, '1.jpg'));
    put('3.jpg', three);
    expect(await origins(camera, 3)).toEqual(['2.jpg', '3.jpg', '2.jpg']);
  });

  it('reports a missing or empty directory', async () => {
    expect(await failureCode(open('loop'))).toBe('camera_no_frame');
    rmSync(dir, { recursive: true });
    expect(await failureCode(open('loop'))).toBe('camera_unreachable');
    expect(await failureCode(open('watch'))).toBe('camera_unreachable');
    mkdirSync(dir);
    put('1.jpg', one);
    expect(await failureCode(open('loop'))).toBeNull();
  });
});
