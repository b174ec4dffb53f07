import { afterEach, describe, expect, it, vi } from 'vitest';
import { LiveTable } from '../../../src/cli/progress.ts';
import { processTerminal } from '../../../src/cli/terminal.ts';

const terminal = { ...processTerminal({}, new AbortController().signal), hasBars: true };
const ROWS = ['one', 'two', 'three', 'four', 'five', 'six'];

describe('LiveTable', () => {
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const screen = { rows: process.stderr.rows, columns: process.stderr.columns };
  afterEach(() => {
    written.mockClear();
    Object.assign(process.stderr, screen);
  });

  it('replaces the lines drawn before, and is never longer or wider than the screen', () => {
    Object.assign(process.stderr, { rows: 6, columns: 5 });
    const live = new LiveTable(terminal);
    live.draw(ROWS);
    live.draw(['one']);
    live.draw(['one']);
    expect(written.mock.calls.map(([text]) => text)).toEqual([
      'one\ntwo\nthre\n… 3 \n',
      '\u001b[4F\u001b[Jone\n',
      '\u001b[1F\u001b[Jone\n',
    ]);
  });

  it('draws nothing without a terminal', () => {
    new LiveTable({ ...terminal, hasBars: false }).draw(ROWS);
    expect(written).not.toHaveBeenCalled();
  });
});
