import { join } from 'node:path';
import { checkDoctor, endOf, parseJson, type BoardCheck } from './board-check.ts';
import { EmulatedRoot } from './emulated-root.ts';

interface AnalysisReport {
  readonly results: readonly {
    readonly status: string;
    readonly provider: string | null;
    readonly timing_ms: { readonly total: number };
  }[];
}

const IMAGE = join(import.meta.dirname, '..', '..', 'test/fixtures/sea/sea-big.jpg');
/** Checks of `doctor` that use the native modules. */
const DOCTOR_CHECKS = ['node', 'hardware', 'model', 'provider cpu', 'camera sim'];
/** Queries a database, calls the C library, and loads the two others. */
const USE_MODULES = `
  const load = (name) => require('/opt/swellsight/node_modules/' + name);
  const database = new (load('better-sqlite3'))(':memory:');
  const { version } = database.prepare('SELECT sqlite_version() AS version').get();
  if (load('koffi').load('libc.so.6').func('int getpid()')() !== process.pid) throw new Error('koffi: wrong getpid()');
  const onnxruntime = load('onnxruntime-node').env.versions.node;
  const libvips = load('sharp').versions.vips;
  console.log(process.arch, process.version + ', SQLite', version + ', onnxruntime', onnxruntime + ', libvips', libvips);`;

/** Runs the arm64 archive under qemu-user: native modules, `doctor` with a simulated camera, and one image. */
export function* checkUnderUserEmulation(archive: string): Generator<BoardCheck> {
  using root = new EmulatedRoot(archive);
  const modules = root.node('-e', USE_MODULES);
  const isLoaded = modules.exitCode === 0 && modules.stdout.startsWith('arm64 ');
  yield {
    name: 'native modules load and answer',
    isPassed: isLoaded,
    detail: isLoaded ? modules.stdout.trim() : endOf(modules),
  };

  yield* checkDoctor(root.swellsight('doctor', '--json'), DOCTOR_CHECKS);

  const analysis = root.swellsight('analyze', '--json', root.add(IMAGE, 'sea.jpg'));
  const [result] = (parseJson(analysis.stdout) as AnalysisReport | null)?.results ?? [];
  yield {
    name: 'measures an image',
    isPassed: result?.status === 'measured' && result.provider === 'cpu',
    detail:
      result === undefined
        ? endOf(analysis)
        : `${result.status} on ${result.provider ?? 'no provider'}, ${result.timing_ms.total.toFixed(0)} ms`,
  };
}
