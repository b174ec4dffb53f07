import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { extract } from 'tar';
import { expect, it } from 'vitest';
import { DiagnosticsArchive, MAX_LOG_BYTES } from '../../../../src/cli/diagnostics/archive.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';

const { signal } = new AbortController();

it('redacts keys, values and lines, keeps JSON lines valid and names missing parts with the reason', async () => {
  const { path } = makeFileTree();
  const archive = new DiagnosticsArchive((text) => text.replaceAll('hunter22', '***'));
  await archive.add({ file: 'one.json', read: () => ({ hunter22: ['a hunter22 b', 5, null] }) }, signal);
  await archive.add({ file: 'log.jsonl', read: () => '{"url":"hunter22"}\nplain hunter22' }, signal);
  const failed = { file: 'two.json', read: () => Promise.reject(new Error('no hunter22')) };
  await archive.add(failed, signal);
  const manifest = archive.manifest('2026-06-01T00:00:00.000Z', '1.2.3');
  archive.write(join(path, 'out.tar.gz'), manifest);
  await extract({ file: join(path, 'out.tar.gz'), cwd: path });
  const read = (file: string) => readFileSync(join(path, file), 'utf8');
  expect(JSON.parse(read('one.json'))).toEqual({ '***': ['a *** b', 5, null] });
  expect(read('log.jsonl')).toBe('{"url":"***"}\nplain ***');
  expect(JSON.parse(read('manifest.json'))).toEqual(manifest);
  expect(manifest.missing).toEqual([{ file: 'two.json', reason: 'no ***' }]);
  expect(statSync(join(path, 'out.tar.gz')).mode & 0o777).toBe(0o600);
});

it('keeps the end of a long text, leaves out a large document, and stays below 5 MB', async () => {
  const { path } = makeFileTree();
  const archive = new DiagnosticsArchive((text) => text);
  const lines = Array.from({ length: 60_000 }, (_, n) => `${String(n)} ${randomBytes(20).toString('hex')}`);
  await archive.add({ file: 'log.txt', maxBytes: MAX_LOG_BYTES, read: () => lines.join('\n') }, signal);
  for (let n = 0; n < 16; n += 1)
    await archive.add(
      { file: `${String(n)}.txt`, read: () => randomBytes(2 ** 19).toString('base64') },
      signal,
    );
  await archive.add({ file: 'large.json', read: () => 'x'.repeat(2 ** 20) }, signal);
  const manifest = archive.manifest('2026-06-01T00:00:00.000Z', '1.2.3');
  expect(manifest.missing).toEqual([{ file: 'large.json', reason: 'larger than 196608 bytes' }]);
  expect(manifest.parts.every(({ shortened }) => shortened)).toBe(true);
  expect(archive.write(join(path, 'out.tar.gz'), manifest)).toBeLessThan(5_000_000);
  await extract({ file: join(path, 'out.tar.gz'), cwd: path });
  const kept = readFileSync(join(path, 'log.txt'), 'utf8').split('\n');
  expect(kept).toEqual(lines.slice(-kept.length));
});
