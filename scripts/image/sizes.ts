import { runTool } from './run-tool.ts';

/** Parts of the image by path, the more exact ones first. */
const PARTS: readonly (readonly [string, RegExp])[] = [
  ['Node', /^\/usr\/local\/bin\/node$/],
  ['ffmpeg', /^\/usr\/(bin\/ff(mpeg|probe)|share\/doc\/ffmpeg\/.*)$/],
  ['onnxruntime', /^\/opt\/swellsight\/node_modules\/onnxruntime/],
  ['sharp with libvips', /^\/opt\/swellsight\/node_modules\/(@img|sharp)\//],
  ['koffi', /^\/opt\/swellsight\/node_modules\/(@koromix|koffi)\//],
  ['better-sqlite3', /^\/opt\/swellsight\/node_modules\/better-sqlite3\//],
  ['other npm packages', /^\/opt\/swellsight\/node_modules\//],
  ['shipped model', /^\/opt\/swellsight\/models\//],
  ['agent', /^\/opt\/swellsight\//],
];

/** Sizes of the files of an image by part, MB (10^6 bytes), the largest first, and their total. */
export function listImageParts(image: string): readonly (readonly [part: string, sizeMb: number])[] {
  const root = runTool('podman', ['image', 'mount', image]).trim();
  try {
    const files = runTool('find', [root, '-xdev', '-type', 'f', '-links', '-2', '-printf', '%s /%P\n']);
    const sizes = new Map<string, number>();
    const add = (part: string, bytes: number): void => {
      sizes.set(part, (sizes.get(part) ?? 0) + bytes / 1e6);
    };
    for (const line of files.trim().split('\n')) {
      const [, bytes = '0', path = ''] = /^(\d+) (.*)$/.exec(line) ?? [];
      add(PARTS.find(([, pattern]) => pattern.test(path))?.[0] ?? 'Debian', Number(bytes));
    }
    const parts = [...sizes].toSorted(([, a], [, b]) => b - a);
    return [...parts, ['total', parts.reduce((sum, [, size]) => sum + size, 0)]];
  } finally {
    runTool('podman', ['image', 'unmount', image]);
  }
}
