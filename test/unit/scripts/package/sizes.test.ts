import { describe, expect, it } from 'vitest';
import { listPartSizes } from '../../../../scripts/package/sizes.ts';

const file = (size: number) => ({ size, sha256: '', mode: 0o644 });

describe('Sizes of the package', () => {
  it('adds up the files of each part, the largest first', () => {
    const lines = listPartSizes({
      files: {
        'node/bin/node': file(120e6),
        'node_modules/onnxruntime-node/bin/x.so': file(25e6),
        'node_modules/@img/sharp-libvips-linux-arm64/lib/x.so': file(18e6),
        'node_modules/sharp/dist/index.mjs': file(1e6),
        'node_modules/pino/pino.js': file(1e5),
        'dist/main.js': file(2e6),
        'package.json': file(1000),
      },
    });
    expect(lines.map((line) => line.replaceAll(/ +/g, ' '))).toEqual([
      'Node 120.0 MB 1 files',
      'onnxruntime 25.0 MB 1 files',
      'sharp with libvips 19.0 MB 2 files',
      'agent 2.0 MB 1 files',
      'other npm packages 0.1 MB 1 files',
      'other files 0.0 MB 1 files',
      'total 166.1 MB 7 files',
    ]);
  });
});
