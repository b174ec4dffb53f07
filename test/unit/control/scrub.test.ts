import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../../src/config/load.ts';
import { createScrub, mapLogLine, secretsOfSettings } from '../../../src/control/scrub.ts';

describe('createScrub', () => {
  it('replaces the longer one of two secrets first, in plain, percent-encoded and JSON form', () => {
    const scrub = createScrub(['pass', 'pass "1"', null, 'abc']);
    expect(scrub('pass, pass "1", pass%20%221%22, abc')).toBe('***, ***, ***, abc');
    expect(scrub(JSON.stringify('pass "1"'))).toBe('"***"');
  });

  it('accepts a secret that is no valid Unicode', () => {
    expect(createScrub(['\ud800abcd'])('x \ud800abcd')).toBe('x ***');
  });

  it('finds the secrets of all addresses of the settings', () => {
    const settings = loadSettings({
      file: null,
      env: {},
      cwd: '/',
      overlay: {
        model: { repository: 'https://u:model-secret@models.example/' },
        update: { repository: 'https://u:update-secret@agents.example/' },
      },
    });
    const scrub = createScrub(secretsOfSettings(settings));
    expect(scrub('model-secret update-secret')).toBe('*** ***');
  });
});

it('mapLogLine keeps a JSON line valid, also when a text has quotes', () => {
  const cut = (text: string): string => text.replace(/=.*/, '="');
  expect(mapLogLine('{"url":"?key=abc","n":5}', cut)).toBe('{"url":"?key=\\"","n":5}');
  expect(mapLogLine('no JSON key=abc', cut)).toBe('no JSON key="');
});
