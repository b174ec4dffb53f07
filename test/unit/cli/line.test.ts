import { expect, it } from 'vitest';
import { bad, dim, line, renderLine } from '../../../src/cli/line.ts';

const HOSTILE = '\u001b[31mred\u001b[0m\n\u009b2J\u202e';

it('prints own colours only on request', () => {
  const text = line`${bad('failed')}  a ${line`b ${dim('c')}`}`;
  expect(renderLine(text, false)).toBe('failed  a b c');
  expect(renderLine(text, true)).toBe('\u001b[31mfailed\u001b[39m  a b \u001b[2mc\u001b[22m');
});

it('replaces the escape sequences of texts, with and without a colour', () => {
  const printable = '?[31mred?[0m??2J?';
  expect(renderLine(HOSTILE, true)).toBe(printable);
  expect(renderLine(line`x${HOSTILE}`, true)).toBe(`x${printable}`);
  expect(renderLine(bad(HOSTILE), true)).toBe(`\u001b[31m${printable}\u001b[39m`);
});
