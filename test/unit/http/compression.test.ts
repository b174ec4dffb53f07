import { expect, it } from 'vitest';
import { acceptsGzip } from '../../../src/http/compression.ts';

it.each([
  ['gzip', true],
  ['GZIP;q=0.5, br', true],
  ['br, *', true],
  ['*;q=0', false],
  ['gzip;q=0, *', false],
  ['gzip; q=0.000', false],
  ['identity', false],
  ['br', false],
  ['xgzip', false],
  ['gzip;q=nonsense', false],
  ['', false],
  [undefined, false],
])('acceptsGzip(%s) is %s', (accepted, takes) => {
  expect(acceptsGzip(accepted)).toBe(takes);
});
