import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { until } from '../wait.ts';

const PROGRAM = join(import.meta.dirname, 'writer-process.ts');

export const LEVELS = ['FULL', 'NORMAL', 'OFF'] as const;
/** FULL is what the store sets; the weaker ones are controls. */
export type Level = (typeof LEVELS)[number];

/** What the writing process has told of, which lies outside the disk that loses its power. */
export class Told {
  /** Ids whose commit had returned. */
  readonly stored = new Set<string>();
  /** Ids that the broker would have acknowledged. */
  readonly acked = new Set<string>();
  /** The highest number told of, by camera. */
  readonly newest = new Map<string, number>();
  lines = 0;
  ended: string | null = null;
}

/** The real store in a process of its own. */
export class Writer {
  readonly #told: Told;
  readonly #child: ChildProcess;
  #rest = '';
  #complaint = '';

  constructor(stateDir: string, level: Level, told: Told) {
    this.#told = told;
    told.ended = null;
    this.#child = spawn(process.execPath, [PROGRAM, stateDir, level], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    this.#child.stderr
      ?.setEncoding('utf8')
      .on('data', (text: string) => (this.#complaint = (this.#complaint + text).slice(-800)));
    this.#child.once('exit', (code, signal) => (told.ended = String(code ?? signal)));
  }

  /** Waits for so many more lines: with the first one, all that was told before is read. */
  async more(lines: number): Promise<void> {
    const wanted = this.#told.lines + lines;
    const came = await until(() => this.#told.lines >= wanted || this.#told.ended !== null, 30_000, 2);
    if (!came || this.#told.ended !== null)
      throw new Error(`the writer is silent (ended: ${this.#told.ended ?? 'no'}) ${this.#complaint}`);
  }

  /** SIGKILL; resolves when its last words are read. */
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
    const told = this.#told;
    for (const line of lines) {
      told.lines += 1;
      const [what, ...words] = line.split(' ');
      const id = words.at(-1) ?? '';
      if (what === 'acked') told.acked.add(id);
      else {
        told.stored.add(id);
        told.newest.set(words[0] ?? '', Number(words[1]));
      }
    }
  }
}
