import {
  appendFileSync,
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import sharp from 'sharp';
import { DirectoryCamera } from '../../../src/camera/directory-camera.ts';
import { DirectoryListing } from '../../../src/camera/directory-listing.ts';
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
const open = (replay: 'watch' | 'once' | 'loop', clock = systemClock, recursive = false) =>
  new DirectoryCamera({ id: 'cam', path: dir, recursive, replay, maxAgeMs: 600_000 }, { clock });
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

describe('DirectoryCamera with replay: watch and files that change', () => {
  const path = (name: string): string => join(dir, name);

  it.each<[string, () => void]>([
    ['a backup by hard link', () => linkSync(path('old.jpg'), path('.backup'))],
    ['a second name', () => linkSync(path('old.jpg'), path('second.jpg'))],
    ['chmod', () => chmodSync(path('old.jpg'), 0o600)],
    ['rename', () => renameSync(path('old.jpg'), path('renamed.jpg'))],
    ['rename of the newest', () => renameSync(path('new.jpg'), path('renamed.jpg'))],
    [
      'an exchange of two names',
      () => {
        renameSync(path('old.jpg'), path('.other'));
        renameSync(path('new.jpg'), path('old.jpg'));
        renameSync(path('.other'), path('new.jpg'));
      },
    ],
  ])('does not yield an old picture again after %s', async (_name, change) => {
    put('old.jpg', one);
    const camera = open('watch');
    expect(await origins(camera, 1)).toEqual(['old.jpg']);
    put('new.jpg', two);
    expect(await origins(camera, 1)).toEqual(['new.jpg']);
    // The ctime of a file system may have a resolution of some milliseconds.
    await new Promise((resolve) => setTimeout(resolve, 30));
    change();
    expect(await failureCode(camera, { timeoutS: 0.8 })).toBe('camera_no_frame');
    put('newer.jpg', three);
    expect(await origins(camera, 1)).toEqual(['newer.jpg']);
  });

  it('yields a picture that replaces another one by rename, and one that a rotation makes room for', async () => {
    put('latest.jpg', one);
    const camera = open('watch');
    expect(await origins(camera, 1)).toEqual(['latest.jpg']);
    put('.tmp', two);
    renameSync(path('.tmp'), path('latest.jpg'));
    expect(Buffer.from((await captureBurst(camera)).frames[0]!.bytes)).toEqual(two);
    renameSync(path('latest.jpg'), path('previous.jpg'));
    put('latest.jpg', three);
    expect(Buffer.from((await captureBurst(camera)).frames[0]!.bytes)).toEqual(three);
  });

  it('yields no mixture of two pictures while a file is overwritten in place', async () => {
    put('a.jpg', one);
    const camera = open('watch');
    expect(await origins(camera, 1)).toEqual(['a.jpg']);
    const file = openSync(path('a.jpg'), 'r+');
    const piece = Math.ceil(two.length / 20);
    let written = 0;
    const write = (): void => {
      written += writeSync(file, two, written, Math.min(piece, two.length - written), written);
      if (written < two.length) return;
      ftruncateSync(file, two.length);
      clearInterval(writing);
    };
    const writing = setInterval(write, 50);
    write();
    const { frames } = await captureBurst(camera, { timeoutS: 20 });
    clearInterval(writing);
    closeSync(file);
    expect(Buffer.from(frames[0]!.bytes)).toEqual(two);
  });

  it('yields frames of a file that is overwritten all the time', async () => {
    put('a.jpg', one);
    const camera = open('watch');
    expect(await origins(camera, 1)).toEqual(['a.jpg']);
    const writing = setInterval(() => put('a.jpg', two), 50);
    const { frames } = await captureBurst(camera, { timeoutS: 30 });
    clearInterval(writing);
    expect(Buffer.from(frames[0]!.bytes)).toEqual(two);
  }, 60_000);
});

describe('DirectoryCamera with names and trees as cameras make them', () => {
  const bytesPath = (name: Buffer): Buffer => Buffer.concat([Buffer.from(`${dir}/`), name]);

  it('reads names that are not UTF-8, with spaces, quotes and line feeds', async () => {
    const camera = open('watch');
    const latin1 = Buffer.from('Praia S\u00e3o Jo\u00e3o.jpg', 'latin1');
    const names = [
      latin1,
      Buffer.from('a b\n"c\'.jpg'),
      Buffer.from('\u6ce2.jpg'),
      Buffer.from('\xff\xfe.jpg', 'latin1'),
    ];
    for (const name of names) {
      writeFileSync(bytesPath(name), one);
      expect(await origins(camera, 1)).toEqual([name.toString()]);
    }
    expect((await origins(open('once'), 4)).length).toBe(4);
  });

  it('reads subdirectories only with recursive: true, in natural order of their paths', async () => {
    mkdirSync(join(dir, '2026/11/9'), { recursive: true });
    mkdirSync(join(dir, '2026/11/10/.trash'), { recursive: true });
    mkdirSync(join(dir, '2026/11/10/@eaDir'), { recursive: true });
    for (const name of [
      '2026/11/9/1.jpg',
      '2026/11/10/2.jpg',
      '2026/11/10/.trash/x.jpg',
      '2026/11/10/@eaDir/x.jpg',
    ])
      put(name, one);
    expect(await failureCode(open('watch'), { timeoutS: 0.4 })).toBe('camera_no_frame');
    const found = ['2026/11/9/1.jpg', '2026/11/10/2.jpg'];
    expect(await origins(open('once', systemClock, true), 2)).toEqual(found);
  });

  it('finds a new image in a new subdirectory, and survives subdirectories that disappear', async () => {
    mkdirSync(join(dir, '2026-11-29'));
    put('2026-11-29/1.jpg', one);
    const camera = open('watch', systemClock, true);
    expect(await origins(camera, 1)).toEqual(['2026-11-29/1.jpg']);
    rmSync(join(dir, '2026-11-29'), { recursive: true });
    mkdirSync(join(dir, '2026-11-30'));
    put('2026-11-30/2.jpg', two);
    expect(await origins(camera, 1)).toEqual(['2026-11-30/2.jpg']);
  });

  it('does not follow links to directories, and does not go deeper than eight levels', async () => {
    symlinkSync(dir, join(dir, 'loop'));
    symlinkSync('..', join(dir, 'up'));
    const deep = join(dir, ...'123456789'.split(''));
    mkdirSync(deep, { recursive: true });
    writeFileSync(join(deep, 'too-deep.jpg'), one);
    writeFileSync(join(deep, '..', 'deep.jpg'), one);
    const camera = open('once', systemClock, true);
    expect(await origins(camera, 2)).toEqual(['1/2/3/4/5/6/7/8/deep.jpg']);
  });

  it('names the file that cannot be taken, and why', async () => {
    const camera = open('watch');
    const messageOf = async (): Promise<string> =>
      errorText((await captureBurst(camera, { timeoutS: 0.6 })).failure);
    put('part.jpg', one.subarray(0, 500));
    expect(await messageOf()).toContain('part.jpg, is incomplete');
    put('empty.jpg', '');
    expect(await messageOf()).toContain('empty.jpg, is empty');
    put('empty.jpg', two);
    expect(await origins(camera, 1)).toEqual(['empty.jpg']);
  });

  it('polls 20,000 images without reading all their times, and finds new and overwritten ones', async () => {
    for (let n = 0; n < 20_000; n += 1) linkOrWrite(n);
    const camera = open('watch');
    const first = await captureBurst(camera, { timeoutS: 60 });
    expect(errorText(first.failure)).toBe('null');
    const listing = new DirectoryListing({ path: dir, recursive: false }, { clock: systemClock });
    await listing.files(null, new AbortController().signal);
    const startedMs = performance.now();
    expect(await listing.files(null, new AbortController().signal)).toHaveLength(20_000);
    expect(performance.now() - startedMs).toBeLessThan(5000);
    put('new.jpg', two);
    expect((await captureBurst(camera, { timeoutS: 60 })).frames[0]?.origin).toBe('new.jpg');
    put('new.jpg', three);
    const { frames } = await captureBurst(camera, { timeoutS: 120 });
    expect(Buffer.from(frames[0]!.bytes)).toEqual(three);
  }, 300_000);

  const linkOrWrite = (n: number): void => {
    // A file has at most 65,000 names.
    if (n === 0) put('0.jpg', one);
    else linkSync(join(dir, '0.jpg'), join(dir, `${n}.jpg`));
  };
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

  it.each<[string, () => void, string]>([
    ['empty', () => put('a.jpg', ''), 'a.jpg is empty'],
    ['of another type', () => put('a.jpg', 'GIF89a'), 'a.jpg is no image'],
    ['a pipe', () => spawnSync('mkfifo', [join(dir, 'a.jpg')]), 'a.jpg is not a file'],
    [
      'a broken link',
      () => symlinkSync(join(dir, 'none'), join(dir, 'a.jpg')),
      'a.jpg cannot be read (ENOENT)',
    ],
  ])('names the file and the reason when the only file is %s', async (_kind, make, reason) => {
    make();
    for (const replay of ['once', 'loop'] as const) {
      const { failure } = await captureBurst(open(replay), { timeoutS: 2 });
      expect(errorText(failure)).toContain(`no file can be replayed: ${reason}`);
    }
  });

  it.each(['once', 'loop'] as const)(
    'does not advise replay: loop when replay: %s takes too long',
    async (replay) => {
      for (let n = 0; n < 3000; n += 1) put(`${n}.jpg`, '');
      const text = errorText((await captureBurst(open(replay), { timeoutS: 0.01 })).failure);
      expect(text).toMatch(/camera_no_frame|no image within|is empty/);
      expect(text).not.toContain('set replay');
    },
  );

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
