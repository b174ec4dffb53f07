import { expect, it } from 'vitest';
import { formatBar, formatTable } from '../../../src/cli/format.ts';

it('formats a bar of ten characters', () => {
  expect([-5, 0, 44, 100, 400].map(formatBar)).toEqual([
    '----------',
    '----------',
    '####------',
    '##########',
    '##########',
  ]);
});

it('removes control characters from tables', () => {
  expect(formatTable([['home/pole-1', '\u001b[2Jbad\n']])).toBe('home/pole-1  ?[2Jbad?');
});
