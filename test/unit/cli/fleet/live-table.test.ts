import { afterEach, describe, expect, it, vi } from 'vitest';
import { barText, LiveTable } from '../../../../src/cli/fleet/live-table.ts';
import { table } from '../../../../src/cli/phrases.ts';
import { processTerminal } from '../../../../src/cli/terminal.ts';

const terminal = { ...processTerminal({}, new AbortController().signal), bars: true };
const ROWS = ['one', 'two', 'three', 'four', 'five', 'six'];

describe('the live table', () => {
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const screen = { rows: process.stderr.rows, columns: process.stderr.columns };
  afterEach(() => {
    written.mockClear();
    Object.assign(process.stderr, screen);
  });

  it('is drawn over itself, and never longer or wider than the screen', () => {
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

  it('is silent where there is no terminal', () => {
    new LiveTable({ ...terminal, bars: false }).draw(ROWS);
    expect(written).not.toHaveBeenCalled();
  });
});

it('a bar has ten places', () => {
  expect([-5, 0, 44, 100, 400].map(barText)).toEqual([
    '----------',
    '----------',
    '####------',
    '##########',
    '##########',
  ]);
});

it('what others sent does not steer the terminal', () => {
  expect(table([['home/pole-1', '\u001b[2Jbad\n']])).toBe('home/pole-1  ?[2Jbad?');
});
