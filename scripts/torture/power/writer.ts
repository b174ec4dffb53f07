import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { until } from '../wait.ts';

const PROGRAM = join(import.meta.dirname, 'writer-process.ts');

export const LEVELS = ['FULL', 'NORMAL', 'OFF'] as const;
/** FULL is the setting of the store; the weaker ones are controls. */
export type Level = (typeof LEVELS)[number];

/** The lines of the writer process, kept outside the disk that loses its power. */
export class WriterLog {
  /** Ids whose commit had returned. */
  readonly stored = new Set<string>();
  /** Ids that count as acknowledged by the broker. */
  readonly acked = new Set<string>();
  /** The highest printed number, by camera. */
  readonly newest = new Map<string, number>();
  lines = 0;
  /** Exit code or signal of the process; null while it runs. */
  exit: string | null = null;
}

/** Runs the real store in a separate process. */
export class Writer {
  readonly #log: WriterLog;
  readonly #child: ChildProcess;
  #rest = '';
  #stderr = '';

  constructor(stateDir: string, level: Level, log: WriterLog) {
    this.#log = log;
    log.exit = null;
    this.#child = spawn(process.execPath, [PROGRAM, stateDir, level], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    this.#child.stderr
      ?.setEncoding('utf8')
      .on('data', (text: string) => (this.#stderr = (this.#stderr + text).slice(-800)));
    this.#child.once('exit', (code, signal) => (log.exit = String(code ?? signal)));
  }

  /** Waits for this many more lines. */
  async waitForLines(lines: number): Promise<void> {
    const wanted = this.#log.lines + lines;
    const came = await until(() => this.#log.lines >= wanted || this.#log.exit !== null, 30_000, 2);
    if (!came || this.#log.exit !== null)
      throw new Error(`the writer prints nothing (exit: ${this.#log.exit ?? 'no'}) ${this.#stderr}`);
  }

  /** Sends SIGKILL; resolves when the last output is read. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, 'close');
    this.killNow();
    await closed;
  }

  killNow(): void {
    this.#child.kill('SIGKILL');
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    const log = this.#log;
    for (const line of lines) {
      log.lines += 1;
      const [step, ...words] = line.split(' ');
      const id = words.at(-1) ?? '';
      if (step === 'acked') log.acked.add(id);
      else {
        log.stored.add(id);
        log.newest.set(words[0] ?? '', Number(words[1]));
      }
    }
  }
}
