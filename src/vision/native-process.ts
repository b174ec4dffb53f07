import { fork, type ChildProcess, type IOType } from 'node:child_process';
import { childEnvironment } from '../base/child-environment.ts';
import { MEMORY_LIMIT_EXCEEDED } from './messages.ts';
import { lowerPriority, type ProcessPurpose } from '../base/process-priority.ts';

const MAX_STDERR_CHARS = 4096;

export interface NativeProcessOptions {
  readonly entry: URL;
  readonly nodeFlags: readonly string[];
  /** File descriptors from 3 on. */
  readonly pipes: readonly IOType[];
  /** Added to the nice value. */
  readonly niceness: number;
  readonly purpose?: ProcessPurpose;
}

/**
 * A child process that runs native inference code. It has a process group of its own, so that `kill` also ends the
 * processes that a provider's library started.
 */
export class NativeProcess {
  readonly child: ChildProcess;
  #stderr = '';

  constructor({ entry, nodeFlags, pipes, niceness, purpose }: NativeProcessOptions) {
    this.child = fork(entry, {
      serialization: 'advanced',
      execArgv: [...nodeFlags],
      env: {
        ...childEnvironment(process.env, 'vision'),
        // Prevents onnxruntime from sending telemetry.
        ORT_DISABLE_TELEMETRY: '1',
        // glibc uses few arenas and returns freed blocks of image size to the system. This lowers resident memory from
        // 159 to 138 MB.
        MALLOC_ARENA_MAX: '2',
        MALLOC_MMAP_THRESHOLD_: '131072',
        MALLOC_TRIM_THRESHOLD_: '131072',
      },
      stdio: ['ignore', 'ignore', 'pipe', ...pipes, 'ipc'],
      detached: process.platform !== 'win32',
    });
    lowerPriority(this.child.pid, niceness, purpose);
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR_CHARS);
    });
  }

  /** The end of what the process has written to stderr. */
  get stderr(): string {
    return this.#stderr;
  }

  /** The last line of `stderr` that is not blank. */
  get lastLine(): string | undefined {
    return this.#stderr.split('\n').findLast((line) => line.trim() !== '');
  }

  /** True when the process killed itself because its resident memory exceeded the hard limit. */
  get hasExceededMemory(): boolean {
    return this.#stderr.includes(MEMORY_LIMIT_EXCEEDED);
  }

  kill(): void {
    const { pid, exitCode, signalCode } = this.child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    try {
      process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL');
    } catch {
      // The process has just ended, or does not have its own group yet.
      this.child.kill('SIGKILL');
    }
  }
}
