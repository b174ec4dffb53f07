import { toPrintable } from '../base/printable.ts';
import type { Terminal } from './terminal.ts';

export interface ProgressBar {
  update(done: number, total: number): void;
  stop(): void;
}

const NO_BAR: ProgressBar = { update: () => undefined, stop: () => undefined };

/** Creates a bar on standard error. It is drawn only on a terminal. */
export async function createProgressBar(label: string, terminal: Terminal): Promise<ProgressBar> {
  if (!terminal.hasBars) return NO_BAR;
  const { default: cliProgress } = await import('cli-progress');
  const format = `${toPrintable(label)} [{bar}] {value}/{total} {eta_formatted}`;
  const bar = new cliProgress.SingleBar(
    { format, clearOnComplete: true, hideCursor: true, stream: process.stderr },
    cliProgress.Presets.shades_classic,
  );
  let isStarted = false;
  return {
    update: (done, total) => {
      if (!isStarted) bar.start(total, done);
      else bar.update(done);
      isStarted = true;
    },
    stop: () => {
      if (isStarted) bar.stop();
    },
  };
}

/** Lines on standard error that replace the lines drawn before. They are drawn only on a terminal. */
export class LiveTable {
  readonly #terminal: Terminal;
  #drawnLines = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  draw(lines: readonly string[]): void {
    if (!this.#terminal.hasBars) return;
    const maxLines = Math.max(4, (process.stderr.rows || 24) - 2);
    const hiddenCount = lines.length - maxLines;
    const visible =
      hiddenCount > 0 ? [...lines.slice(0, maxLines - 1), `… ${String(hiddenCount + 1)} more`] : lines;
    const columns = process.stderr.columns || 80;
    const erase = this.#drawnLines > 0 ? `\u001b[${String(this.#drawnLines)}F\u001b[J` : '';
    process.stderr.write(
      `${erase}${visible.map((line) => toPrintable(line).slice(0, columns - 1)).join('\n')}\n`,
    );
    this.#drawnLines = visible.length;
  }
}
