import type { Terminal } from '../terminal.ts';

/** Lines that are drawn over those drawn before, on standard error, on a terminal only. */
export class LiveTable {
  readonly #terminal: Terminal;
  #drawn = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  draw(lines: readonly string[]): void {
    if (!this.#terminal.bars) return;
    const rows = Math.max(4, (process.stderr.rows || 24) - 2);
    const left = lines.length - rows;
    const shown = left > 0 ? [...lines.slice(0, rows - 1), `… ${String(left + 1)} more`] : lines;
    const columns = process.stderr.columns || 80;
    const up = this.#drawn > 0 ? `\u001b[${String(this.#drawn)}F\u001b[J` : '';
    process.stderr.write(`${up}${shown.map((line) => line.slice(0, columns - 1)).join('\n')}\n`);
    this.#drawn = shown.length;
  }
}

const BAR_WIDTH = 10;

/** `####------`. */
export function barText(percent: number): string {
  const full = Math.round((Math.min(100, Math.max(0, percent)) / 100) * BAR_WIDTH);
  return '#'.repeat(full) + '-'.repeat(BAR_WIDTH - full);
}
