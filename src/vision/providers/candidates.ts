import type { Hardware, HardwareKind } from '../hardware/hardware.ts';

/** The providers that a kind of machine should have, best hope first; `cpu` runs everywhere. */
const EXPECTED: Readonly<Record<HardwareKind, readonly string[]>> = {
  jetson: ['tensorrt', 'cuda'],
  raspberry_pi: [],
  nvidia_x86: ['tensorrt', 'cuda', 'webgpu'],
  apple: ['coreml', 'webgpu'],
  windows: ['dml', 'webgpu'],
  cpu: [],
};

export interface Candidates {
  /** To be tried, in this order. */
  readonly providers: readonly string[];
  /** `fastest`: the quickest right one wins. `ordered`: the first right one of an explicit list wins. */
  readonly rule: 'fastest' | 'ordered';
  /** Wanted or expected, but not to be tried. */
  readonly excluded: readonly {
    readonly provider: string;
    readonly outcome: 'not_built_in' | 'not_tried';
    readonly reason: string;
  }[];
}

/**
 * What to try: with `auto`, everything that the installed onnxruntime was built with, in the order of the
 * hardware's hopes; with a list, that list. A model that names its providers narrows both.
 * `backends` is null while it is not known yet: then nothing counts as missing from the build.
 */
export function candidatesFor(
  wanted: 'auto' | readonly string[],
  hardware: Hardware,
  backends: readonly string[] | null,
  required: readonly string[] | undefined,
): Candidates {
  const expected = EXPECTED[hardware.kind];
  const names =
    wanted === 'auto'
      ? [...expected, ...(backends ?? []).filter((name) => name !== 'cpu'), 'cpu']
      : wanted.map(providerName);
  const needed = required?.map(providerName);
  const providers: string[] = [];
  const excluded: Candidates['excluded'][number][] = [];
  for (const provider of new Set(names)) {
    if (needed !== undefined && !needed.includes(provider))
      excluded.push({ provider, outcome: 'not_tried', reason: `the model asks for ${needed.join(' or ')}` });
    else if (backends !== null && !backends.includes(provider))
      excluded.push({ provider, outcome: 'not_built_in', reason: notBuiltIn(provider, hardware.kind) });
    else providers.push(provider);
  }
  return { providers, rule: wanted === 'auto' ? 'fastest' : 'ordered', excluded };
}

/** onnxruntime-node's own name; people also write `CUDAExecutionProvider`, as in Python. */
export function providerName(name: string): string {
  return name
    .trim()
    .replace(/ExecutionProvider$/i, '')
    .toLowerCase();
}

function notBuiltIn(provider: string, kind: HardwareKind): string {
  return kind === 'jetson'
    ? `the installed onnxruntime has no ${provider}; on a Jetson it must be built against JetPack`
    : `the installed onnxruntime has no ${provider}`;
}

/** Few enough to be quick and mild on any board: what serves until more is known. */
export function safeThreads(threads: 'auto' | number, cores: number): number {
  if (threads !== 'auto') return threads;
  return cores >= 4 ? 2 : 1;
}

/** Thread counts worth a trial on the CPU, ascending. */
export function threadCandidates(threads: 'auto' | number, cores: number): readonly number[] {
  if (threads !== 'auto') return [threads];
  const counts = [1, 2, Math.floor(cores / 2), cores].filter((count) => count >= 1 && count <= cores);
  return [...new Set(counts)].sort((a, b) => a - b);
}
