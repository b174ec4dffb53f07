import { basename, dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Health } from '../../src/contract/health.ts';
import type { Observation } from '../../src/contract/observation.ts';
import type { Status } from '../../src/contract/states.ts';
import { subscriberUnit } from '../../test/fixtures/installed-system.ts';
import { checkDoctor, endOf, parseJson, type BoardCheck } from './board-check.ts';
import { EmulatedMachine } from './emulated-machine.ts';
import { machineParts, type PageKib } from './machine-parts.ts';

const LIMIT_MB = 512;
const TOPICS = 'swellsight/v1/test/board';
const MESSAGES = '/root/messages';
/** The first observation waits for the trial of the model. */
const OBSERVATION_TIMEOUT_MS = 30 * 60_000;
const POLL_MS = 15_000;
const DOCTOR_CHECKS = ['node', 'hardware', 'ffmpeg', 'broker', 'model', 'provider cpu', 'camera usb'];
/** The memory changes between the two readings. A wrong page size is wrong by a factor of 4. */
const RSS_TOLERANCE = 0.4;

/** Limits for a slow processor; all others are those of a device. */
const CONFIGURATION = `site: test
device: board
stateDir: /var/lib/swellsight
mqtt: { url: 'mqtt://127.0.0.1:1883' }
cameras:
  - { id: usb, kind: v4l2, path: /dev/video0, schedule: { everyS: 60 }, burst: { frames: 2, intervalS: 1 }, timeoutS: 50 }
inference: { timeoutS: 60, threads: 1 }
heartbeat: { intervalS: 30 }
`;

/** What is on the machine beside Debian and the files of the installer. */
const FILES = {
  '/etc/swellsight/swellsight.yaml': CONFIGURATION,
  '/etc/systemd/system/swellsight.service.d/memory.conf': `[Service]\nMemoryMax=${LIMIT_MB}M\n`,
  '/etc/systemd/system/subscriber.service': subscriberUnit(TOPICS, MESSAGES),
  // One capture device, with the resolutions and rates of a web camera.
  '/etc/modprobe.d/vivid.conf': 'options vivid n_devs=1 node_types=0x1\n',
  '/etc/modules-load.d/vivid.conf': 'vivid\n',
};

/** Prints the kernel's view of the memory of the service: a name and a number in each line. */
const MEMORY = `
  show() { systemctl show --value -p "$1" swellsight.service; }
  rss() { sed -n "s/^VmRSS:[^0-9]*\\([0-9]*\\) kB/$2 \\1/p" "/proc/$1/status"; }
  cgroup=/sys/fs/cgroup$(show ControlGroup)
  main=$(show MainPID)
  echo "limitBytes $(cat "$cgroup/memory.max")"
  echo "peakBytes $(cat "$cgroup/memory.peak")"
  sed -n 's/^oom_kill /oomKills /p' "$cgroup/memory.events"
  rss "$main" mainKb
  rss "$(pgrep -P "$main" -f dist/vision/child/process)" visionKb
  echo "restarts $(show NRestarts)"`;

/**
 * Boots an emulated machine whose kernel has pages of `pageKib`, installs the archive as docs/install.md says, and lets it
 * observe a virtual camera within a memory limit and after a power cut. The disk and the kernels are kept in `cache`.
 */
export async function* checkInMachine(
  archive: string,
  cache: string,
  pageKib: PageKib,
): AsyncGenerator<BoardCheck> {
  const partsStartedMs = performance.now();
  const parts = machineParts(cache, pageKib);
  yield { name: 'has a disk of Debian', isPassed: true, detail: secondsSince(partsStartedMs) };

  const bootStartedMs = performance.now();
  await using machine = await EmulatedMachine.boot(parts, dirname(archive));
  const [release = '', pageBytes = ''] = (await machine.must('uname -r; getconf PAGESIZE')).split('\n');
  yield {
    name: 'boots with systemd',
    isPassed: Number(pageBytes) === pageKib * 1024,
    detail: `Linux ${release}, pages of ${pageBytes} bytes, ${secondsSince(bootStartedMs)}`,
  };

  for (const [path, text] of Object.entries(FILES)) await machine.write(path, text);
  await machine.must('systemctl daemon-reload && systemctl enable --now subscriber.service');
  const camera = await machine.run('modprobe vivid && udevadm settle && ls -l /dev/video0');
  yield { name: 'has a virtual camera', isPassed: camera.exitCode === 0, detail: endOf(camera) };

  const installStartedMs = performance.now();
  const installation = await machine.run(`cd /root && archive=/mnt/${basename(archive)} &&
    tar -xzf "$archive" scripts/install.sh && sh scripts/install.sh "$archive" && sync`);
  const isInstalled = installation.exitCode === 0;
  yield {
    name: 'installs the archive',
    isPassed: isInstalled,
    detail: isInstalled ? secondsSince(installStartedMs) : endOf(installation),
  };
  if (isInstalled) yield* checkInstalledAgent(machine);
}

async function* checkInstalledAgent(machine: EmulatedMachine): AsyncGenerator<BoardCheck> {
  yield* checkObservations(machine, 'observes /dev/video0', []);
  const state = await machine.run('systemctl is-active swellsight.service');
  yield { name: 'is active', isPassed: state.exitCode === 0, detail: state.stdout.trim() };
  yield* checkMemory(machine);

  const published = await analysedObservations(machine);
  const cutMs = performance.now();
  await machine.cutPower();
  yield { name: 'boots after a power cut', isPassed: true, detail: secondsSince(cutMs) };
  yield* checkObservations(machine, 'starts itself and observes again', published);
  const list = await machine.run('swellsight observations --json --limit 1000');
  const stored = (parseJson(list.stdout) as { readonly observations: readonly Observation[] } | null)
    ?.observations;
  const lost = published.filter(({ id }) => !stored?.some((record) => record.id === id));
  yield {
    name: 'has all observations from before',
    isPassed: lost.length === 0,
    detail: stored === undefined ? endOf(list) : `${lost.length} of ${published.length} lost`,
  };

  const stop = await machine.run(
    'systemctl stop swellsight.service; systemctl show --value -p Result swellsight.service',
  );
  const status = (await messages<Status>(machine, /^status$/)).at(-1)?.state;
  yield {
    name: 'stops, and publishes that',
    isPassed: stop.stdout.trim() === 'success' && status === 'stopped',
    detail: `result ${stop.stdout.trim()}, status ${status ?? 'none'}`,
  };
  yield* checkDoctor(await machine.run('swellsight doctor --json'), DOCTOR_CHECKS);
}

/** Waits for an observation with an analysed frame that is not among `known`. */
async function* checkObservations(
  machine: EmulatedMachine,
  name: string,
  known: readonly Observation[],
): AsyncGenerator<BoardCheck> {
  const startedMs = performance.now();
  const isNew = ({ id }: Observation): boolean => !known.some((record) => record.id === id);
  const observations = await poll(
    async () => (await analysedObservations(machine)).filter(isNew),
    ({ length }) => length > 0,
  );
  const isPassed = observations.length > 0;
  const journal = isPassed ? '' : (await machine.run('journalctl -o cat -n 30 -u swellsight')).stdout;
  const detail = `${observations.map(describe).join('; ')} after ${secondsSince(startedMs)}\n${journal}`;
  yield { name, isPassed, detail: detail.trim() };
}

/** Compares the memory in the heartbeat with that of the kernel. */
async function* checkMemory(machine: EmulatedMachine): AsyncGenerator<BoardCheck> {
  const lines = (await machine.must(MEMORY)).trim().split('\n');
  const kernel = new Map(lines.map((line) => line.split(' ') as [string, string]));
  const valueOf = (name: string): number => Number(kernel.get(name) ?? Number.NaN);
  const [limitMb, peakMb] = [valueOf('limitBytes') / 2 ** 20, valueOf('peakBytes') / 2 ** 20];
  yield {
    name: 'stays within its memory limit',
    isPassed: limitMb === LIMIT_MB && peakMb <= LIMIT_MB && valueOf('oomKills') === 0,
    detail:
      `peak ${peakMb.toFixed(0)} of ${limitMb} MiB, ${valueOf('oomKills')} processes killed, ` +
      `${valueOf('restarts')} restarts of the service`,
  };

  const memory = await poll(
    async () => (await messages<Health>(machine, /^health$/)).at(-1)?.memory,
    // A heartbeat from after the start of the vision process.
    (last) => (last?.vision_rss_mb ?? 0) > 0,
  );
  const [mainMb, visionMb] = [valueOf('mainKb') / 1024, valueOf('visionKb') / 1024];
  const isNear = (reportedMb: number | null | undefined, kernelMb: number): boolean =>
    typeof reportedMb === 'number' && Math.abs(reportedMb / kernelMb - 1) < RSS_TOLERANCE;
  const freeMb = memory?.free_mb ?? Number.NaN;
  yield {
    name: 'reports its memory',
    isPassed:
      isNear(memory?.rss_mb, mainMb) &&
      isNear(memory?.vision_rss_mb, visionMb) &&
      freeMb > 0 &&
      freeMb < LIMIT_MB,
    detail:
      `main process ${memory?.rss_mb ?? 'none'} MiB (kernel: ${mainMb.toFixed(1)}), vision process ` +
      `${memory?.vision_rss_mb ?? 'none'} MiB (kernel: ${visionMb.toFixed(1)}), free ${freeMb} MiB`,
  };
}

/** Reads until the value is the wanted one, or for OBSERVATION_TIMEOUT_MS. Returns the last value. */
async function poll<Value>(read: () => Promise<Value>, isWanted: (value: Value) => boolean): Promise<Value> {
  const deadlineMs = performance.now() + OBSERVATION_TIMEOUT_MS;
  for (;;) {
    const value = await read();
    if (isWanted(value) || performance.now() > deadlineMs) return value;
    await delay(POLL_MS);
  }
}

async function analysedObservations(machine: EmulatedMachine): Promise<readonly Observation[]> {
  const all = await messages<Observation>(machine, /^camera\/usb\/observation$/);
  return all.filter(
    ({ status, quality }) => ['measured', 'rejected'].includes(status) && quality.score !== null,
  );
}

const describe = ({ status, reasons, quality, timing_ms: { capture } }: Observation): string =>
  `${[status, ...reasons].join(' ')} (score ${quality.score ?? '?'}, capture ${capture?.toFixed(0) ?? '?'} ms)`;

/** The messages that the broker forwarded, oldest first. */
async function messages<Message>(machine: EmulatedMachine, topic: RegExp): Promise<readonly Message[]> {
  return (await machine.must(`cat ${MESSAGES}`)).split('\n').flatMap((line) => {
    const space = line.indexOf(' ');
    if (space < 0 || !topic.test(line.slice(TOPICS.length + 1, space))) return [];
    // After a power cut the last line may be incomplete.
    const message = parseJson(line.slice(space + 1)) as Message | null;
    return message === null ? [] : [message];
  });
}

const secondsSince = (startedMs: number): string =>
  `${((performance.now() - startedMs) / 1000).toFixed(0)} s`;
