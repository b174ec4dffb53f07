import { describe, expect, it } from 'vitest';
import { csvHeader, csvRow } from '../../../src/http/csv.ts';
import { observation } from '../../fixtures/agent-api.ts';

/** RFC 4180, read by hand: quoted cells, doubled quotes. */
function cells(line: string): string[] {
  expect(line.endsWith('\r\n')).toBe(true);
  return [...line.slice(0, -2).matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  );
}

const row = (more: Partial<typeof observation>): Record<string, string> => {
  const names = cells(csvHeader());
  const values = cells(csvRow({ ...observation, ...more }));
  expect(values.length).toBe(names.length);
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']));
};

describe('a table of observations', () => {
  it('has what is known, and nothing where nothing is known', () => {
    expect(row({})).toMatchObject({
      camera: 'north',
      height_m: '1.2',
      height_basis: 'site_median',
      direction: '',
      period_s: '',
      reasons: '',
    });
    expect(row({ status: 'rejected', reasons: ['glare', 'fog'] })['reasons']).toBe('glare fog');
  });

  it('quotes what would break it', () => {
    expect(row({ camera: 'a,"b"\r\nc' })['camera']).toBe('a,"b"\r\nc');
  });

  it('gives no formula to a spreadsheet, and leaves numbers as they are', () => {
    for (const text of ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1'])
      expect(row({ site: text })['site']).toBe(`'${text}`);
    expect(row({ site: 'a=1' })['site']).toBe('a=1');
  });
});
