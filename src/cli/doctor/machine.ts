import { rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import { createDirectory } from '../../base/create-directory.ts';
import { fail, ok, warn, type DoctorContext, type Finding } from './types.ts';

const FFMPEG_WITHIN_MS = 10_000;
const FFMPEG_KINDS = new Set(['rtsp', 'hls', 'v4l2', 'video']);
const LITTLE_DISK_MB = 1024;
const OLDEST_NODE = [22, 12] as const;

export async function* checkNode(): AsyncGenerator<Finding> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const good = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
  const detail = `${process.versions.node} on ${process.platform}-${process.arch}`;
  yield good ? ok('node', detail) : fail('node', detail, `use Node ${OLDEST_NODE.join('.')} or later`);
  await Promise.resolve();
}

export async function* checkHardware({ signal }: DoctorContext): AsyncGenerator<Finding> {
  const { probeHardware } = await import('../../vision/hardware/probe.ts');
  const { kind, model, cpu, cores, memoryMb, accelerators } = await probeHardware(signal);
  const parts = [model, cpu, `${String(cores)} cores`, `${String(Math.round(memoryMb))} MB`, ...accelerators];
  yield ok('hardware', `${kind}: ${parts.filter((part) => part !== null).join(', ')}`);
}

export async function* checkDisk({ settings }: DoctorContext): AsyncGenerator<Finding> {
  const { stateDir, store } = settings;
  const probe = join(stateDir, `.doctor-${String(process.pid)}`);
  try {
    createDirectory(stateDir);
    await writeFile(probe, 'x');
    await rm(probe);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    yield fail('disk', `${stateDir} cannot be written (${code})`, 'mend its permissions, or set stateDir');
    return;
  }
  const { readDiskSpace } = await import('../../health/disk.ts');
  const { freeMb, usedPct } = await readDiskSpace(stateDir);
  if (freeMb === null) yield warn('disk', `${stateDir} does not tell its free space`, 'watch it yourself');
  else if (freeMb < Math.min(store.maxMb, LITTLE_DISK_MB))
    yield warn('disk', `${String(freeMb)} MB free in ${stateDir}`, 'free space, or lower store.maxMb');
  else yield ok('disk', `${String(freeMb)} MB free in ${stateDir}, ${usedPct?.toFixed(0) ?? '?'}% used`);
}

export async function* checkClock(): AsyncGenerator<Finding> {
  const { ClockSync } = await import('../../health/clock-sync.ts');
  const sync = new ClockSync({ clock: systemClock, onStep: () => undefined });
  const stop = new AbortController();
  await sync.start(stop.signal);
  stop.abort();
  const { synced, offsetMs } = sync.state();
  const now = new Date(systemClock.nowMs()).toISOString();
  yield synced
    ? ok('clock', `${now}, synchronised${offsetMs === null ? '' : `, ${offsetMs.toFixed(1)} ms off`}`)
    : warn('clock', `${now}, not synchronised`, 'enable systemd-timesyncd or chrony');
}

export async function* checkFfmpeg({ settings, signal }: DoctorContext): AsyncGenerator<Finding> {
  const wanted = settings.cameras.filter(({ kind }) => FFMPEG_KINDS.has(kind)).map(({ id }) => id);
  const { runProgram } = await import('../../camera/child-program.ts');
  const version = await runProgram(
    { program: 'ffmpeg', args: ['-version'], maxStdoutBytes: 65_536 },
    { clock: systemClock },
    deadlineSignal(FFMPEG_WITHIN_MS, signal),
  ).catch(() => null);
  const name = /^ffmpeg version (\S+)/.exec(version?.stdout?.toString() ?? '')?.[1];
  if (name !== undefined) yield ok('ffmpeg', name);
  else if (wanted.length > 0)
    yield fail('ffmpeg', `missing, wanted by ${wanted.join(', ')}`, 'install it: apt-get install ffmpeg');
  else yield ok('ffmpeg', 'missing, and no camera wants it');
}

/** Free for the agent, or held by one that runs already. */
export async function* checkHttp({ settings }: DoctorContext): AsyncGenerator<Finding> {
  const { host, port } = settings.http;
  const address = `${host}:${String(port)}`;
  const code = await listenError(host, port);
  if (code === null) yield ok('http', `${address} is free`);
  else if (code === 'EADDRINUSE')
    yield (await isAgent(host, port))
      ? ok('http', `an agent runs at ${address}`)
      : fail('http', `${address} is taken by another program`, 'set another http.port');
  else yield fail('http', `${address} cannot be listened on (${code})`, 'set http.host and http.port');
}

function listenError(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(port, host.replace(/^\[|\]$/g, ''), () => server.close(() => resolve(null)));
  });
}

async function isAgent(host: string, port: number): Promise<boolean> {
  const name = /^(0\.0\.0\.0|::|\[::\])$/.test(host) ? '127.0.0.1' : host;
  try {
    const answer = await fetch(`http://${name}:${String(port)}/live`, { signal: deadlineSignal(5000) });
    const body = (await answer.json()) as Record<string, unknown>;
    return typeof body['live'] === 'boolean';
  } catch {
    return false;
  }
}
