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

it('aligns the columns of a table', () => {
  expect(
    formatTable([
      ['a', 'one'],
      ['long', ''],
    ]),
  ).toEqual(['a     one', 'long']);
});
