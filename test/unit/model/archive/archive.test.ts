import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmod,
  cp,
  link,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { packBundle, packFiles } from '../../../../src/model/archive/pack.ts';
import { unpackArchive, type ArchiveLayout } from '../../../../src/model/archive/unpack.ts';
import { openBundle } from '../../../../src/model/bundle/bundle.ts';
import { END, entry, pax, setChecksum, tar } from '../../../fixtures/archive.ts';
import { bundleDir } from '../../../fixtures/bundles.ts';

let root: string;
let file: string;
let into: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'archive-'));
  file = join(root, 'bundle.tar');
  await mkdir(join(root, 'staging'));
  into = join(root, 'staging', 'one');
});
afterEach(() => rm(root, { recursive: true, force: true }));

const LIMITS = { maxBytes: 1024 * 1024, maxFiles: 16, layout: 'bundle' as ArchiveLayout };

/** Every path below the test's directory, which shows files that were written to a wrong place. */
const listAll = async (): Promise<string[]> => (await readdir(root, { recursive: true })).sort();

const listUnpacked = async (): Promise<string[]> => (await readdir(into, { recursive: true })).sort();

async function refusalOf(
  bytes: Buffer,
  overrides: Partial<typeof LIMITS> = {},
): Promise<{ code: string; message: string }> {
  await writeFile(file, bytes);
  const { code, message } = await unpackArchive(file, into, { ...LIMITS, ...overrides }).then(
    () => new AgentError('internal', 'the archive was unpacked'),
    (thrown: unknown) => thrown as AgentError,
  );
  expect(await listAll()).toEqual(['bundle.tar', 'staging']);
  return { code, message };
}

describe('packBundle', () => {
  it('gives the same bytes for the same files with other times and modes', async () => {
    const copy = join(root, 'copy');
    await cp(bundleDir('heads'), copy, { recursive: true });
    await utimes(join(copy, 'model.json'), 1000, 1000);
    await chmod(join(copy, 'model.json'), 0o700);
    const first = await packBundle(bundleDir('heads'), file);
    const second = await packBundle(copy, join(root, 'second.tar'));
    expect(second).toEqual(first);
    const bytes = await readFile(file);
    expect(bytes.equals(await readFile(join(root, 'second.tar')))).toBe(true);
    expect(first).toEqual({
      sizeBytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    });
  });

  it('writes a sorted archive that tar can read and that unpacks to the same bundle', async () => {
    await packBundle(bundleDir('heads'), file);
    const listed = execFileSync('tar', ['-tf', file], { encoding: 'utf8' }).trim().split('\n');
    expect(listed).toEqual(['analysis.onnx', 'golden/picture-1.png', 'golden/picture-2.png', 'model.json']);
    await unpackArchive(file, into, LIMITS);
    expect((await openBundle(into)).digest).toBe((await openBundle(bundleDir('heads'))).digest);
  });

  it('packs names that are too long for a plain header', async () => {
    const dir = join(root, 'long');
    const name = `golden/${'a'.repeat(124)}.png`;
    await mkdir(join(dir, 'golden'), { recursive: true });
    await writeFile(join(dir, name), 'picture');
    await packBundle(dir, file);
    expect(execFileSync('tar', ['-tf', file], { encoding: 'utf8' }).trim()).toBe(name);
    await unpackArchive(file, into, LIMITS);
    expect(await readFile(join(into, name), 'utf8')).toBe('picture');
  });

  it('refuses a link, keeps the former archive and leaves no part file', async () => {
    const dir = join(root, 'linked');
    await cp(bundleDir('heads'), dir, { recursive: true });
    await writeFile(file, 'former');
    await rm(join(dir, 'analysis.onnx'));
    await symlink('/etc/passwd', join(dir, 'analysis.onnx'));
    await expect(packBundle(dir, file)).rejects.toMatchObject({ code: 'model_bundle_refused' });
    await expect(packFiles(dir, ['analysis.onnx'], file)).rejects.toMatchObject({ code: 'ELOOP' });
    expect(await readFile(file, 'utf8')).toBe('former');
    expect(await readdir(root)).not.toContain('bundle.tar.part');
  });

  it('stops when the signal aborts', async () => {
    await expect(packBundle(bundleDir('heads'), file, AbortSignal.abort())).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(await listAll()).toEqual(['staging']);
  });
});

describe('unpackArchive', () => {
  it.each(['gnu', 'pax', 'ustar', 'v7'])(
    'unpacks an archive that tar wrote in the %s format',
    async (format) => {
      execFileSync('tar', ['-cf', file, `--format=${format}`, '-C', bundleDir('heads'), '.']);
      await unpackArchive(file, into, LIMITS);
      expect((await openBundle(into)).digest).toBe((await openBundle(bundleDir('heads'))).digest);
    },
  );

  it.each(['gnu', 'pax'])('unpacks long names in the %s format', async (format) => {
    const dir = join(root, 'long');
    const name = `golden/${'b'.repeat(120)}.png`;
    await mkdir(join(dir, 'golden'), { recursive: true });
    await writeFile(join(dir, name), 'picture');
    execFileSync('tar', ['-cf', file, `--format=${format}`, '-C', dir, 'golden']);
    await unpackArchive(file, into, LIMITS);
    expect(await readFile(join(into, name), 'utf8')).toBe('picture');
  });

  it('unpacks the directory of a repository with a model', async () => {
    const target = `targets/models/heads/${'0'.repeat(64)}.1.0.0.tar`;
    await writeFile(
      file,
      tar(
        entry({ path: './', type: '5' }),
        entry({ path: './metadata/', type: '5' }),
        entry({ path: './metadata/1.root.json', body: '{}' }),
        entry({ path: target, body: 'tar' }),
      ),
    );
    await unpackArchive(file, into, { ...LIMITS, layout: 'repository' });
    expect(await readFile(join(into, target), 'utf8')).toBe('tar');
    expect(await readFile(join(into, 'metadata/1.root.json'), 'utf8')).toBe('{}');
  });

  it('ignores the modes of the headers', async () => {
    await writeFile(
      file,
      tar(entry({ path: 'model.json', change: (header) => header.write('0006777', 100) })),
    );
    await unpackArchive(file, into, LIMITS);
    expect((await stat(join(into, 'model.json'))).mode & 0o7777 & ~0o644).toBe(0);
  });

  const model = entry({ path: 'model.json', body: '{}' });
  const long = (path: string, type = 'L'): Buffer =>
    Buffer.concat([entry({ path: '././@LongLink', type, body: `${path}\0` }), entry({ path: 'short' })]);
  it.each<[string, Buffer, string]>([
    ['a path out of the directory', entry({ path: '../evil', body: 'x' }), '"../evil" is not a path'],
    [
      'a path out of the directory from a subdirectory',
      entry({ path: 'golden/../../evil' }),
      'is not a path',
    ],
    ['an absolute path', entry({ path: '/etc/evil' }), 'is not a path'],
    ['an absolute path in the prefix', entry({ path: 'evil', prefix: '/etc' }), 'is not a path'],
    ['`..` in the prefix', entry({ path: 'evil', prefix: '..' }), 'is not a path'],
    ['a backslash', entry({ path: 'golden\\..\\evil' }), 'is not a path'],
    ['a drive', entry({ path: 'C:evil' }), 'is not a path'],
    ['a Windows device name', entry({ path: 'nul.onnx' }), 'is not a path'],
    ['a name after a NUL', entry({ path: 'model.json\0../evil' }), 'after a NUL'],
    ['a name of three dots', entry({ path: '...' }), 'is not a path'],
    ['a hidden name', entry({ path: '.bashrc' }), 'is not a path'],
    ['an empty name', entry({ path: '..' }), 'is not a path'],
    ['a control character', entry({ path: 'a\x1b[2Jb' }), 'is not a path'],
    ['another directory', entry({ path: 'more/file' }), 'is not a path'],
    ['a directory in golden', entry({ path: 'golden/more/', type: '5' }), 'is not a path'],
    ['a long GNU name out of the directory', long('../evil'), 'is not a path'],
    ['a long GNU name with a NUL', long('golden/a\0/../evil'), 'is not a path'],
    ['an old GNU name', long('x', 'N'), 'bundles do not have'],
    ['a pax path out of the directory', Buffer.concat([pax({ path: '../evil' }), model]), 'is not a path'],
    ['a pax path with a line break', Buffer.concat([pax({ path: 'a\n../evil' }), model]), 'is not a path'],
    ['a pax size', Buffer.concat([pax({ size: '0' }), model]), 'sets "size"'],
    ['a pax link', Buffer.concat([pax({ linkpath: '/etc/passwd' }), model]), 'sets "linkpath"'],
    [
      'a pax sparse file',
      Buffer.concat([pax({ 'GNU.sparse.major': '1' }), model]),
      'sets "GNU.sparse.major"',
    ],
    [
      'a pax record of length 0',
      Buffer.concat([entry({ path: 'x', type: 'x', body: '0 path=a\n' }), model]),
      'damaged',
    ],
    [
      'a pax record that is too long',
      Buffer.concat([entry({ path: 'x', type: 'x', body: '99 path=a\n' }), model]),
      'damaged',
    ],
    ['a global pax header', Buffer.concat([pax({ path: 'a' }, 'g'), model]), 'a global header'],
    ['two long names', Buffer.concat([pax({ path: 'a' }), pax({ path: 'b' }), model]), 'two long names'],
    ['a long name without an entry', Buffer.concat([model, pax({ path: 'a' })]), 'ends after a long name'],
    ['a very long name', entry({ path: 'x', type: 'L', body: 'a'.repeat(10_000) }), 'too long'],
    ['a symbolic link', entry({ path: 'model.json', type: '2', link: '/etc/passwd' }), 'a symbolic link'],
    ['a hard link', entry({ path: 'model.json', type: '1', link: '/etc/passwd' }), 'a hard link'],
    ['a file with a link', entry({ path: 'model.json', link: '/etc/passwd' }), 'refers to another file'],
    ['a character device', entry({ path: 'mem', type: '3' }), 'a device'],
    ['a block device', entry({ path: 'sda', type: '4' }), 'a device'],
    ['a pipe', entry({ path: 'pipe', type: '6' }), 'a device'],
    ['a contiguous file', entry({ path: 'file', type: '7' }), 'bundles do not have'],
    ['a sparse file', entry({ path: 'file', type: 'S' }), 'a sparse file'],
    ['an unknown type', entry({ path: 'file', type: 'Z' }), 'bundles do not have'],
    ['a directory with a body', entry({ path: 'golden/', type: '5', body: 'x' }), 'has a size'],
    ['a file with a directory name and a body', entry({ path: 'golden/', body: 'x' }), 'has a size'],
    ['a name twice', Buffer.concat([model, model]), 'occurs twice'],
    ['a name twice in different case', Buffer.concat([model, entry({ path: 'Model.JSON' })]), 'occurs twice'],
    [
      'a name twice, once with a leading ./',
      Buffer.concat([model, entry({ path: './model.json' })]),
      'occurs twice',
    ],
    [
      'a directory twice',
      Buffer.concat([entry({ path: 'golden/', type: '5' }), entry({ path: './golden', type: '5' })]),
      'occurs twice',
    ],
    [
      'a directory twice in different case',
      Buffer.concat([entry({ path: 'golden/a.png' }), entry({ path: 'Golden' })]),
      'occurs twice',
    ],
    ['a negative size', entry({ path: 'a', change: (header) => header.fill(0xff, 124, 136) }), 'has no size'],
    [
      'a size of letters',
      entry({ path: 'a', change: (header) => header.write('abcdefghijk\0', 124) }),
      'has no size',
    ],
    [
      'a size above the largest integer',
      entry({ path: 'a', change: (header) => header.fill(0x80, 124, 125).fill(0xff, 125, 136) }),
      'cannot be read',
    ],
  ])('refuses %s', async (_what, bytes, message) => {
    const refused = await refusalOf(tar(entry({ path: 'golden/first.png', body: 'first' }), bytes));
    expect(refused).toEqual({
      code: 'model_archive_refused',
      message: expect.stringContaining(message) as string,
    });
  });

  const damaged = entry({ path: 'model.json', body: '{}' });
  damaged[3]! ^= 1;
  it.each<[string, Buffer, string]>([
    ['an empty file', Buffer.alloc(0), 'truncated'],
    ['an archive without entries', END, 'no file'],
    ['an archive of one directory', tar(entry({ path: 'golden/', type: '5' })), 'no file'],
    ['text', Buffer.from('{"format": 1}'.repeat(100)), 'not a tar archive'],
    ['a gzipped archive', gzipSync(tar(model)), 'truncated'],
    ['a large gzipped archive', gzipSync(tar(model), { level: 0 }), 'not a tar archive'],
    ['a damaged header', tar(damaged), 'a header is damaged'],
    ['an archive truncated in a header', tar(model).subarray(0, 300), 'truncated'],
    [
      'an archive truncated in a body',
      tar(entry({ path: 'a', body: 'x'.repeat(2000) })).subarray(0, 1000),
      'ends within "a"',
    ],
    ['an archive truncated after a body', model, 'truncated'],
    ['an archive truncated in its end', tar(model).subarray(0, -1), 'its end is missing'],
    ['another archive after the end', Buffer.concat([tar(model), tar(model)]), 'content after its end'],
    [
      'a script after the end',
      Buffer.concat([tar(model), Buffer.from('#!/bin/sh')]),
      'content after its end',
    ],
    [
      'a megabyte of zeros after the end',
      Buffer.concat([tar(model), Buffer.alloc(1024 * 1024)]),
      'content after its end',
    ],
  ])('refuses %s', async (_what, bytes, message) => {
    const refused = await refusalOf(bytes);
    expect(refused).toEqual({
      code: 'model_archive_refused',
      message: expect.stringContaining(message) as string,
    });
  });

  it.each<[string, Buffer]>([
    ['10 GB announced', entry({ path: 'trunk.onnx', sizeBytes: 8 * 1024 ** 3 - 1 })],
    [
      '10 TB announced in binary',
      entry({
        path: 'trunk.onnx',
        change: (header) => {
          header.fill(0, 124, 136);
          header[124] = 0x80;
          header.writeBigUInt64BE(10n * 1024n ** 4n, 128);
        },
      }),
    ],
    [
      'files that together exceed the limit',
      Buffer.concat(['a', 'b', 'c'].map((path) => entry({ path, body: Buffer.alloc(400 * 1024) }))),
    ],
    ['too many files', Buffer.concat(Array.from({ length: 17 }, (_, n) => entry({ path: `f${String(n)}` })))],
  ])('refuses %s as too large', async (_what, bytes) => {
    expect(await refusalOf(tar(bytes))).toMatchObject({ code: 'model_too_large' });
  });

  it('refuses hundreds of directories', async () => {
    const directories = Array.from({ length: 200 }, (_, n) =>
      entry({ path: `targets/f${String(n)}/`, type: '5' }),
    );
    expect(await refusalOf(tar(...directories), { layout: 'repository' })).toMatchObject({
      code: 'model_too_large',
    });
  });

  it('refuses a path that is a file and a directory', async () => {
    const bytes = tar(entry({ path: 'golden' }), entry({ path: 'golden/a.png' }));
    expect(await refusalOf(bytes)).toMatchObject({
      message: expect.stringContaining('a file and a directory') as string,
    });
  });

  it('does not change an existing directory', async () => {
    await packBundle(bundleDir('heads'), file);
    await mkdir(into);
    await writeFile(join(into, 'other'), 'other');
    await expect(unpackArchive(file, into, LIMITS)).rejects.toMatchObject({ code: 'EEXIST' });
    expect(await listUnpacked()).toEqual(['other']);
  });

  it('does not follow a link to the archive', async () => {
    await packBundle(bundleDir('heads'), file);
    await symlink(file, join(root, 'link.tar'));
    await expect(unpackArchive(join(root, 'link.tar'), into, LIMITS)).rejects.toMatchObject({
      code: 'ELOOP',
    });
  });

  it.each<[string, () => unknown]>([
    ['a pipe', () => execFileSync('mkfifo', [file])],
    ['a directory', () => mkdir(file)],
  ])('refuses %s instead of an archive without waiting', async (_what, make) => {
    await make();
    await expect(unpackArchive(file, into, LIMITS)).rejects.toMatchObject({ code: 'model_archive_refused' });
  });

  it('stops when the signal aborts and leaves no file', async () => {
    await packBundle(bundleDir('heads'), file);
    await expect(unpackArchive(file, into, LIMITS, AbortSignal.abort())).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(await listAll()).toEqual(['bundle.tar', 'staging']);
  });

  it('refuses an archive that tar wrote from hard links', async () => {
    const dir = join(root, 'linked');
    await mkdir(dir);
    await writeFile(join(dir, 'a.onnx'), 'x');
    await link(join(dir, 'a.onnx'), join(dir, 'b.onnx'));
    execFileSync('tar', ['-cf', file, '-C', dir, '.']);
    await expect(unpackArchive(file, into, LIMITS)).rejects.toMatchObject({
      code: 'model_archive_refused',
      message: expect.stringContaining('a hard link') as string,
    });
  });

  it('accepts a header with a rewritten checksum, so the refusals above are not due to the checksum', async () => {
    const bytes = entry({ path: 'model.json', body: '{}' });
    setChecksum(bytes);
    await writeFile(file, tar(bytes));
    await unpackArchive(file, into, LIMITS);
    expect(await listUnpacked()).toEqual(['model.json']);
  });
});
