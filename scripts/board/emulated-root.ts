import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emulate, RASPBERRY_PI_4_CPUINFO } from '../image/emulation.ts';
import { runTool, tryTool, type ToolResult } from '../image/run-tool.ts';

/** The C and C++ libraries of Debian 12 for arm64, from its cross compiler packages. */
const LIBRARIES = '/usr/aarch64-linux-gnu/lib';
const AGENT = '/opt/swellsight';
/** A command takes some ten seconds; a busy machine needs several times that. */
const COMMAND_TIMEOUT_MS = 300_000;

/** Limits for a slow processor. The resident memory of a process includes that of its emulator. */
const SETTINGS = {
  SWELLSIGHT_STATE_DIR: '/state',
  SWELLSIGHT_INFERENCE_TIMEOUT_S: '120',
  SWELLSIGHT_INFERENCE_MAX_RSS_MB: '1024',
  SWELLSIGHT_CAMERAS: JSON.stringify([
    { id: 'sim', kind: 'simulated', schedule: { everyS: 300 }, burst: { frames: 1 }, timeoutS: 120 },
  ]),
};

/**
 * Prepares the root directory $1 in namespaces of its own, and runs the other arguments in it. The shell stays process
 * 1, because Node hangs as process 1 under emulation. The new network has only the loopback interface.
 */
const ENTER = `set -e
  root=$1
  shift
  ip link set lo up
  mount -t proc proc "$root/proc"
  mount --bind "$root/cpuinfo" "$root/proc/cpuinfo"
  mount --rbind /dev "$root/dev"
  chroot "$root" "$@" &
  wait $!`;

/**
 * A directory with the unpacked arm64 archive of `npm run package`, the C and C++ libraries, and nothing else. Its
 * programs run under qemu-user, with the /proc/cpuinfo of a Raspberry Pi 4: onnxruntime reads the kind of processor there.
 * Needs root and the packages of the group `board` in scripts/setup.mjs.
 */
export class EmulatedRoot implements Disposable {
  readonly #root = mkdtempSync(join(tmpdir(), 'swellsight-board-'));

  constructor(archive: string) {
    emulate();
    for (const path of ['proc', 'dev', 'tmp', 'usr', 'state', AGENT])
      mkdirSync(join(this.#root, path), { recursive: true });
    runTool('tar', ['--extract', '--gzip', '--file', archive, '--directory', join(this.#root, AGENT)]);
    cpSync(LIBRARIES, join(this.#root, 'usr/lib'), { recursive: true, verbatimSymlinks: true });
    symlinkSync('usr/lib', join(this.#root, 'lib'));
    writeFileSync(join(this.#root, 'cpuinfo'), RASPBERRY_PI_4_CPUINFO);
  }

  /** Puts a file of this machine into the root directory. Returns its path there. */
  add(file: string, name: string): string {
    writeFileSync(join(this.#root, name), readFileSync(file));
    return `/${name}`;
  }

  /** Runs Node of the archive. */
  node(...args: readonly string[]): ToolResult {
    return tryTool(
      'unshare',
      [
        ...['--mount', '--pid', '--net', '--fork', '--kill-child', '--', 'env', '-i'],
        ...['QEMU_CPU=cortex-a72', 'ORT_DISABLE_TELEMETRY=1', 'HOME=/state'],
        ...Object.entries(SETTINGS).map(([name, value]) => `${name}=${value}`),
        ...['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'sh', '-c', ENTER, 'sh', this.#root],
        ...[`${AGENT}/node/bin/node`, ...args],
      ],
      COMMAND_TIMEOUT_MS,
    );
  }

  /** Runs the command line of the agent. */
  swellsight(...args: readonly string[]): ToolResult {
    return this.node(`${AGENT}/dist/main.js`, ...args);
  }

  [Symbol.dispose](): void {
    rmSync(this.#root, { recursive: true, force: true });
  }
}
