import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runTool, tryTool, type ToolResult } from './run-tool.ts';

export interface ContainerOptions {
  readonly image: string;
  readonly memoryMb: number;
  /** Host path to path in the container, read-only. */
  readonly mounts?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface MemoryUse {
  /** Most memory that the limit counted, page cache included, MiB. */
  readonly peakMb: number;
  readonly oomKills: number;
}

const MEMORY_CGROUP = '/sys/fs/cgroup/memory';

/** A container as docs/container.md starts it: no network, no privileges, read-only root, state in a volume. */
export class Container implements Disposable {
  readonly #name: string;

  constructor({ image, memoryMb, mounts = {}, environment = {} }: ContainerOptions) {
    this.#name = `swellsight-check-${process.pid}-${memoryMb}`;
    this.#remove();
    runTool('podman', [
      // crun fails on a machine with both versions of cgroups.
      ...[
        'run',
        '--detach',
        '--runtime',
        'runc',
        '--name',
        this.#name,
        '--network',
        'none',
        '--hostname',
        'edge',
      ],
      ...['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024'],
      ...['--read-only', '--tmpfs', '/tmp', '--cap-drop', 'all', '--security-opt', 'no-new-privileges'],
      ...['--memory', `${memoryMb}m`, '--memory-swap', `${memoryMb}m`],
      ...['--volume', `${this.#name}:/var/lib/swellsight`],
      ...Object.entries(mounts).flatMap(([from, to]) => ['--volume', `${from}:${to}:ro`]),
      ...Object.entries(environment).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
      image,
    ]);
  }

  exec(...command: readonly string[]): ToolResult {
    return tryTool('podman', ['exec', this.#name, ...command]);
  }

  /** Runs the HEALTHCHECK of the image until it succeeds. Returns the seconds; null after the deadline or when the container ended. */
  async untilHealthy(deadlineS: number): Promise<number | null> {
    const startedMs = performance.now();
    const elapsedS = (): number => (performance.now() - startedMs) / 1000;
    while (elapsedS() < deadlineS && this.isRunning()) {
      if (tryTool('podman', ['healthcheck', 'run', this.#name]).exitCode === 0) return elapsedS();
      await delay(1000);
    }
    return null;
  }

  isRunning(): boolean {
    return this.#inspect('{{.State.Running}}') === 'true';
  }

  /** The state that `docker ps` shows, such as `healthy`. */
  healthState(): string {
    return this.#inspect('{{.State.Health.Status}}');
  }

  log(): string {
    const { stdout, stderr } = tryTool('podman', ['logs', this.#name]);
    return `${stdout}${stderr}`;
  }

  /** What the memory controller (cgroup v1) counted; null where it is not found. */
  memoryUse(): MemoryUse | null {
    const directory = findCgroup(`libpod-${this.#inspect('{{.Id}}')}`);
    if (directory === null) return null;
    const read = (file: string): string => readFileSync(join(directory, file), 'utf8');
    return {
      peakMb: Number(read('memory.max_usage_in_bytes')) / 2 ** 20,
      oomKills: Number(/^oom_kill (\d+)$/m.exec(read('memory.oom_control'))?.[1] ?? 0),
    };
  }

  /** Sends SIGTERM and waits. Returns the exit code. */
  stop(): number {
    runTool('podman', ['stop', '--time', '30', this.#name]);
    return Number(this.#inspect('{{.State.ExitCode}}'));
  }

  [Symbol.dispose](): void {
    this.#remove();
  }

  #inspect(format: string): string {
    return runTool('podman', ['inspect', '--format', format, this.#name]).trim();
  }

  #remove(): void {
    tryTool('podman', ['rm', '--force', '--volumes', this.#name]);
    tryTool('podman', ['volume', 'rm', this.#name]);
  }
}

function findCgroup(name: string): string | null {
  if (!existsSync(MEMORY_CGROUP)) return null;
  for (const parent of readdirSync(MEMORY_CGROUP)) {
    const directory = join(MEMORY_CGROUP, parent, name);
    if (existsSync(directory)) return directory;
  }
  return null;
}
