import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { closeAtEnd } from '../../base/closing.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import { createDirectory } from '../../base/create-directory.ts';
import { errorCode } from '../../base/disk-errors.ts';
import { asAgentError } from '../../base/errors.ts';
import type { ClockState } from '../../health/types.ts';
import type { Hardware } from '../../vision/hardware/hardware.ts';
import { failFinding, okFinding, warnFinding, type CheckContext, type Finding } from './finding.ts';

const FFMPEG_TIMEOUT_MS = 10_000;
const FFMPEG_KINDS = new Set(['rtsp', 'hls', 'v4l2', 'video']);
const LOW_DISK_MB = 1024;
/** As `engines` in package.json. */
const MIN_NODE_MAJOR = 24;

export function* checkNode(): Generator<Finding> {
  const [major = 0] = process.versions.node.split('.').map(Number);
  const detail = `${process.versions.node} on ${process.platform}-${process.arch}`;
  yield major >= MIN_NODE_MAJOR
    ? okFinding('node', detail)
    : failFinding('node', detail, `use Node ${MIN_NODE_MAJOR} or later`);
}

export async function* checkHardware({ signal }: CheckContext): AsyncGenerator<Finding> {
  const { probeHardware } = await import('../../vision/hardware/probe.ts');
  yield hardwareFinding(await probeHardware(signal));
}

export function hardwareFinding(hardware: Hardware): Finding {
  const { kind, board, model, cpu, cores, memoryMb, accelerators, pageSizeBytes } = hardware;
  const parts = [
    model,
    board.id,
    board.module,
    board.l4t && `L4T ${board.l4t}`,
    board.jetpack && `JetPack ${board.jetpack}`,
    board.computeCapability && `compute capability ${board.computeCapability}`,
    cpu,
    `${String(cores)} cores`,
    `${String(memoryMb)} MB`,
    pageSizeBytes === null ? null : `pages of ${String(pageSizeBytes / 1024)} KiB`,
    ...accelerators,
  ];
  return okFinding('hardware', `${kind}: ${parts.filter((part) => part !== null).join(', ')}`);
}

const FULL_DISK = 'free space and inodes on its disk, or set stateDir to another disk';
const NO_PERMISSION = 'let the user of the agent write there (chown, chmod), or set stateDir';
const NO_DIRECTORY = 'set stateDir to a path whose parts are directories';
const DISK_REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: FULL_DISK,
  EDQUOT: 'free space or raise the quota of the user of the agent, or set stateDir to another disk',
  EROFS:
    'mount the file system writable (on Raspberry Pi OS: switch off the overlay file system), or set stateDir',
  EACCES: NO_PERMISSION,
  EPERM: NO_PERMISSION,
  ENOTDIR: NO_DIRECTORY,
  EEXIST: NO_DIRECTORY,
  ENOENT: NO_DIRECTORY,
  ELOOP: NO_DIRECTORY,
  ENAMETOOLONG: 'set stateDir to a shorter path',
  EIO: 'the disk reports errors: read the kernel log (dmesg), check the card or the cable, and replace the disk',
};

export async function* checkDisk({ settings }: CheckContext): AsyncGenerator<Finding> {
  const { stateDir, store } = settings;
  const probe = join(stateDir, `.doctor-${String(process.pid)}`);
  // Also after a failure: a full disk may have room for the file, but not for its content.
  await using _probe = closeAtEnd(() => rm(probe, { force: true }).catch(() => undefined));
  try {
    createDirectory(stateDir);
    await writeFile(probe, 'x');
  } catch (error) {
    const code = errorCode(error) ?? 'unknown';
    yield failFinding(
      'disk',
      `${stateDir} cannot be written (${code})`,
      DISK_REMEDIES[code] ?? 'check stateDir and its disk',
    );
    return;
  }
  const { readDiskSpace } = await import('../../health/disk.ts');
  const { freeMb, usedPct } = await readDiskSpace(stateDir);
  if (freeMb === null)
    yield warnFinding('disk', `the free space of ${stateDir} is unknown`, 'monitor it yourself');
  else if (freeMb < Math.min(store.maxMb, LOW_DISK_MB))
    yield warnFinding('disk', `${String(freeMb)} MB free in ${stateDir}`, 'free space, or lower store.maxMb');
  else
    yield okFinding('disk', `${String(freeMb)} MB free in ${stateDir}, ${usedPct?.toFixed(0) ?? '?'}% used`);
}

export async function* checkClock(): AsyncGenerator<Finding> {
  const { ClockSync } = await import('../../health/clock-sync.ts');
  const sync = new ClockSync({ clock: systemClock, onStep: () => undefined });
  const stop = new AbortController();
  await sync.start(stop.signal);
  stop.abort();
  yield clockFinding(sync.state());
}

export function clockFinding({ synced, offsetMs }: ClockState): Finding {
  const now = new Date(systemClock.nowMs()).toISOString();
  return synced
    ? okFinding(
        'clock',
        `${now}, synchronised${offsetMs === null ? '' : `, offset ${offsetMs.toFixed(1)} ms`}`,
      )
    : warnFinding('clock', `${now}, not synchronised`, 'enable systemd-timesyncd or chrony');
}

export async function* checkFfmpeg({ settings, signal }: CheckContext): AsyncGenerator<Finding> {
  const cameras = settings.cameras.filter(({ kind }) => FFMPEG_KINDS.has(kind)).map(({ id }) => id);
  const { runProgram } = await import('../../camera/child-program.ts');
  let fault = 'missing';
  try {
    const { stdout, stderr } = await runProgram(
      { program: 'ffmpeg', args: ['-version'], maxStdoutBytes: 65_536 },
      { clock: systemClock },
      deadlineSignal(FFMPEG_TIMEOUT_MS, signal),
    );
    const name = /^ffmpeg version (\S+)/.exec(stdout?.toString() ?? '')?.[1];
    if (name !== undefined) {
      yield okFinding('ffmpeg', name);
      return;
    }
    fault = `it does not run: ${stderr.trim().split('\n').at(-1) ?? ''}`;
  } catch (thrown) {
    signal.throwIfAborted();
    const { code, message } = asAgentError(thrown);
    if (code !== 'camera_program_missing') fault = `it does not answer: ${message}`;
  }
  yield cameras.length > 0
    ? failFinding(
        'ffmpeg',
        `${fault}; needed by ${cameras.join(', ')}`,
        'install it: sudo apt update && sudo apt install ffmpeg',
      )
    : okFinding('ffmpeg', `${fault}; no camera needs it`);
}
