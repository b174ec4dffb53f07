import type { Release } from './release.ts';

/** The part of the agent to which a file of the archive belongs: a package of node_modules, or a directory. */
function partOf(path: string): string {
  const [, name = ''] = /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path) ?? [];
  if (/^(@img|sharp)/.test(name)) return 'sharp with libvips';
  if (/^(@koromix|koffi)/.test(name)) return 'koffi';
  if (/^onnxruntime/.test(name)) return 'onnxruntime';
  if (['better-sqlite3', 'swagger-ui-dist'].includes(name)) return name;
  if (name !== '') return 'other npm packages';
  const [directory = ''] = path.split('/');
  return { node: 'Node', dist: 'agent', models: 'shipped model' }[directory] ?? 'other files';
}

/** A table of the unpacked sizes by part, the largest first, with the total. */
export function listPartSizes({ files }: Pick<Release, 'files'>): readonly string[] {
  const sizes = new Map<string, { bytes: number; files: number }>();
  const total = { bytes: 0, files: 0 };
  for (const [path, { size }] of Object.entries(files)) {
    const part = partOf(path);
    const sum = sizes.get(part) ?? { bytes: 0, files: 0 };
    sizes.set(part, { bytes: sum.bytes + size, files: sum.files + 1 });
    total.bytes += size;
    total.files += 1;
  }
  const row = (name: string, size: { bytes: number; files: number }): string =>
    `${name.padEnd(20)} ${(size.bytes / 1e6).toFixed(1).padStart(7)} MB ${String(size.files).padStart(6)} files`;
  const parts = [...sizes].toSorted(([, a], [, b]) => b.bytes - a.bytes);
  return [...parts.map(([name, size]) => row(name, size)), row('total', total)];
}
