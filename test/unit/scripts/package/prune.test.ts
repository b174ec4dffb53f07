import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findForeignBinaries, listFiles, pruneModules } from '../../../../scripts/package/prune.ts';

/** The first 20 bytes of an ELF file for a machine, such as 62 for x86-64. */
function elf(machine: number): Buffer {
  const header = Buffer.alloc(64);
  header.write('\x7fELF', 0, 'latin1');
  header.writeUInt16LE(machine, 18);
  return header;
}

describe('Content of the package', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'swellsight-prune-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const write = (path: string, content: string | Buffer = 'x'): void => {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  };

  it('keeps the native module of the architecture, and no sources of it', () => {
    for (const name of ['linux-x64', 'linux-arm64', 'linuxmusl-arm64', 'darwin-arm64'])
      write(`better-sqlite3/prebuilds/${name}.node`);
    write('better-sqlite3/deps/sqlite3/sqlite3.c');
    write('better-sqlite3/lib/index.js');
    write('onnxruntime-node/bin/napi-v6/linux/x64/onnxruntime_binding.node');
    write('onnxruntime-node/bin/napi-v6/linux/arm64/onnxruntime_binding.node');
    write('onnxruntime-node/bin/napi-v6/win32/arm64/onnxruntime.dll');
    pruneModules(directory, 'arm64');
    expect(listFiles(directory)).toEqual([
      'better-sqlite3/lib/index.js',
      'better-sqlite3/prebuilds/linux-arm64.node',
      'onnxruntime-node/bin/napi-v6/linux/arm64/onnxruntime_binding.node',
    ]);
  });

  it('keeps code and licences, and removes what is for developers', () => {
    const kept = ['LICENSE', 'NOTICE.md', 'dist/doc/Document.js', 'index.js', 'package.json'];
    const removed = [
      'README.md',
      'index.js.map',
      'index.d.ts',
      'lib/index.ts',
      '.eslintrc',
      'test/a.js',
      'docs/b.js',
    ];
    for (const name of [...kept, ...removed]) write(`some/${name}`);
    pruneModules(directory, 'amd64');
    expect(listFiles(directory)).toEqual(kept.map((name) => `some/${name}`));
  });

  it('finds native code for other platforms', () => {
    write('right.node', elf(183));
    write('x64.node', elf(62));
    write('musl_arm64/koffi.node', elf(183));
    write('mac.node', Buffer.from('cffaedfe0c000001', 'hex'));
    write('windows.dll', 'MZ and so on');
    write('text.js', 'MZ = 1');
    write('empty', '');
    expect(findForeignBinaries(directory, 'arm64')).toEqual([
      'mac.node',
      'musl_arm64/koffi.node',
      'windows.dll',
      'x64.node',
    ]);
  });

  it('refuses links', () => {
    symlinkSync('/etc/passwd', join(directory, 'link'));
    expect(() => listFiles(directory)).toThrow('link is a link');
  });
});
