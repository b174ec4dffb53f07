// npm run check:image [-- --arch amd64|arm64] [--target runtime|runtime-ffmpeg] [--memory MB] [--find-memory]: builds the
// image without a daemon, runs it, and prints what ran. Needs root, and the packages of the group `image` in
// scripts/setup.mjs. The first build of an architecture takes from 5 to 20 minutes. Under emulation use --memory 2048.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ARCHITECTURES, hostArchitecture, type Architecture } from '../package/platform.ts';
import { makeBaseImages } from './base-images.ts';
import { checkContainer, countMeasured } from './checks.ts';
import { Container, type ContainerOptions } from './container.ts';
import { emulate, emulationOptions } from './emulation.ts';
import { filmCamera } from './film.ts';
import { runTool } from './run-tool.ts';
import { listImageParts } from './sizes.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const TARGETS = ['runtime', 'runtime-ffmpeg'];
const BUILD_TIMEOUT_MS = 60 * 60_000;
const MEMORY_STEP_MB = 16;

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: hostArchitecture() },
    target: { type: 'string', default: 'runtime' },
    memory: { type: 'string', default: '256' },
    'find-memory': { type: 'boolean', default: false },
  },
});
const arch = ARCHITECTURES.find((known) => known === values.arch);
const memoryMb = Number(values.memory);
if (arch === undefined || !TARGETS.includes(values.target) || !(memoryMb > 0)) {
  console.error(
    `usage: --arch ${ARCHITECTURES.join('|')} --target ${TARGETS.join('|')} --memory MB [--find-memory]`,
  );
  process.exit(2);
}

type Surroundings = Pick<ContainerOptions, 'mounts' | 'environment'>;

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const cache = join(ROOT, '.cache', 'image');
const image = `localhost/swellsight-edge:${values.target}-${arch}`;
const isEmulated = arch !== hostArchitecture();
const emulation: Surroundings = isEmulated ? emulationOptions(cache) : {};
const film: Surroundings = values.target === 'runtime-ffmpeg' ? filmCamera(cache) : {};
const options = {
  mounts: { ...emulation.mounts, ...film.mounts },
  environment: { ...emulation.environment, ...film.environment },
};

/** Builds the image; returns the seconds. */
async function build(architecture: Architecture): Promise<number> {
  const startedMs = performance.now();
  if (isEmulated) emulate();
  await makeBaseImages([architecture, hostArchitecture()], cache);
  runTool(
    'buildah',
    [
      // The OCI format has no HEALTHCHECK.
      ...['bud', '--pull-never', '--layers', '--format', 'docker', '--platform', `linux/${architecture}`],
      // buildah before 1.30 does not set it for FROM.
      ...['--build-arg', `BUILDPLATFORM=linux/${hostArchitecture()}`],
      ...['--target', values.target, '--tag', image, '--file', join(ROOT, 'Dockerfile.arm64'), ROOT],
    ],
    BUILD_TIMEOUT_MS,
  );
  return (performance.now() - startedMs) / 1000;
}

/** The smallest limit, MiB, at which the agent turns healthy and measures without a killed process. */
async function findSmallestMemory(): Promise<number> {
  let smallest = memoryMb;
  for (let tried = memoryMb - MEMORY_STEP_MB; tried > 0; tried -= MEMORY_STEP_MB) {
    using container = new Container({ image, memoryMb: tried, ...options });
    const isHealthy = (await container.untilHealthy(120)) !== null;
    const measured = isHealthy ? await countMeasured(container, 120) : 0;
    const memory = container.memoryUse();
    print(
      `     ${tried} MiB: healthy ${isHealthy}, ${measured} observations, ${memory?.oomKills ?? '?'} processes killed`,
    );
    if (measured < 3 || memory?.oomKills !== 0) break;
    smallest = tried;
  }
  return smallest;
}

print(`${image}, built in ${(await build(arch)).toFixed(0)} s${isEmulated ? '; runs under emulation' : ''}`);
for (const [part, sizeMb] of listImageParts(image))
  print(`     ${part.padEnd(20)} ${sizeMb.toFixed(1).padStart(7)} MB`);

const deadlines = isEmulated ? { healthyS: 900, observationsS: 900 } : { healthyS: 180, observationsS: 180 };
let failed = 0;
{
  using container = new Container({ image, memoryMb, ...options });
  for await (const { name, isPassed, detail } of checkContainer(container, deadlines)) {
    print(`${isPassed ? 'ok  ' : 'FAIL'} ${name}${detail === '' ? '' : `: ${detail}`}`);
    if (!isPassed) failed += 1;
  }
}
if (values['find-memory']) print(`smallest limit that works: ${await findSmallestMemory()} MiB`);
process.exit(failed === 0 ? 0 : 1);
