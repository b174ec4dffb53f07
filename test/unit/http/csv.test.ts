import { describe, expect, it } from 'vitest';
import { csvHeader, csvRow, OBSERVATION_TABLE } from '../../../src/http/csv.ts';
import { observation } from '../../fixtures/agent-api.ts';

/** Parses one line (RFC 4180): quoted cells, doubled quotes. */
function cells(line: string): string[] {
  expect(line.endsWith('\r\n')).toBe(true);
  return [...line.slice(0, -2).matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  );
}

const row = (more: Partial<typeof observation>): Record<string, string> => {
  const names = cells(csvHeader(OBSERVATION_TABLE));
  const values = cells(csvRow(OBSERVATION_TABLE, { ...observation, ...more }));
  expect(values.length).toBe(names.length);
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']));
};

describe('csvRow', () => {
  it('leaves unknown values empty', () => {
    expect(row({})).toMatchObject({
      camera: 'north',
      height_m: '1.2',
      height_basis: 'site_median',
      direction: '',
      period_s: '',
      reasons: '',
    });
    const wave = { ...observation.wave, height_m: null };
    const heights = [row({}), row({ wave }), row({ wave, has_height: false })].map(
      (one) => one['has_height'],
    );
    expect(heights).toEqual(['true', 'false', 'false']);
    expect(row({ status: 'rejected', reasons: ['glare', 'fog'] })['reasons']).toBe('glare fog');
  });

  it('quotes separators, quotes and line breaks', () => {
    expect(row({ camera: 'a,"b"\r\nc' })['camera']).toBe('a,"b"\r\nc');
  });

  it('marks text that a spreadsheet would evaluate as a formula', () => {
    for (const text of ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1'])
      expect(row({ site: text })['site']).toBe(`'${text}`);
    expect(row({ site: 'a=1' })['site']).toBe('a=1');
  });
});
