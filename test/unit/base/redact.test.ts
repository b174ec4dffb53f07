import { describe, expect, it } from 'vitest';
import {
  createScrub,
  mapLogLine,
  redactAddress,
  redactAddresses,
  secretsOfArguments,
} from '../../../src/base/redact.ts';

describe('redactAddresses', () => {
  it.each([
    ['rtsp://viewer:s3cret@10.0.0.2/stream', 'rtsp://***@10.0.0.2/***'],
    ['rtsp://viewer:p@ss@10.0.0.2:554/stream', 'rtsp://***@10.0.0.2:554/***'],
    ['https://cam.example/snap?token=abc&w=1', 'https://cam.example/***'],
    ['rtsp://cam/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp', 'rtsp://cam/***'],
    ['http://cam#token', 'http://cam/***'],
    ['ws://[fe80::1%25eth0]:9001/mqtt', 'ws://[fe80::1%25eth0]:9001/***'],
    ['mqtt://broker:1883', 'mqtt://broker:1883'],
    ['http://127.0.0.1:8080/', 'http://127.0.0.1:8080/'],
    // The password has a character that ends the host.
    ['rtsp://me:12/34@cam/live', 'rtsp://***'],
    ['rtsp://me:12#34@cam/live', 'rtsp://***'],
    ['rtsp://me:12?34@cam/live', 'rtsp://***'],
    ['rtsp://me:pw', 'rtsp://***'],
    ["[in] 'rtsp://u:p@cam/x': Connection refused", "[in] 'rtsp://***@cam/***': Connection refused"],
    ['["rtsp://cam/x","http://b"]', '["rtsp://cam/***","http://b"]'],
    ['a URL with rtsp:// or rtsps://', 'a URL with rtsp:// or rtsps://'],
    ['at file:///opt/swellsight/agent.js:1:2', 'at file:///opt/swellsight/agent.js:1:2'],
  ])('%s', (text, wanted) => {
    expect(redactAddresses(text)).toBe(wanted);
    expect(redactAddresses(wanted)).toBe(wanted);
  });
});

// With an expression whose time grows with the square of the length, each case takes more than a minute.
it.each([
  ['a word before it', `${'a'.repeat(300_000)}://cam/x`],
  ['punctuation in it', `rtsp://cam/${'.'.repeat(300_000)}x`],
])('redacts an address in a long text: %s', (_, text) => {
  expect(redactAddresses(text)).toMatch(/:\/\/cam\/\*\*\*$/);
});

describe('redactAddress', () => {
  it.each([
    ['http://cam/a "b', 'http://cam/***'],
    ["http://cam/')", 'http://cam/***'],
    ['a-key-in-the-wrong-place', '***'],
  ])('reduces the whole setting: %s', (value, wanted) => {
    expect(redactAddress(value)).toBe(wanted);
  });
});

describe('createScrub', () => {
  it('replaces the longer one of two secrets first, in plain, percent-encoded and JSON form', () => {
    const scrub = createScrub(['pass', 'pass "1"', null, 'abc']);
    expect(scrub('pass, pass "1", pass%20%221%22, abc')).toBe('***, ***, ***, abc');
    expect(scrub(JSON.stringify('pass "1"'))).toBe('"***"');
  });

  it('accepts a secret that is no valid Unicode', () => {
    expect(createScrub(['\ud800abcd'])('x \ud800abcd')).toBe('x ***');
  });
});

describe('secretsOfArguments', () => {
  it('finds words and values of a script, but no options and no paths', () => {
    const args = [
      '-c',
      'curl --silent -u admin:s3cret-pw "http://cam/snap?token=abcdefgh" | /opt/my-script --key=k3y-k3y-k3y',
    ];
    const scrub = createScrub(secretsOfArguments(args));
    expect(scrub('s3cret-pw, token abcdefgh, k3y-k3y-k3y: no')).toBe('***, token ***, ***: no');
    expect(scrub('/opt/my-script: --silent unknown')).toBe('/opt/my-script: --silent unknown');
  });
});

it('mapLogLine keeps a JSON line valid, also when a text has quotes', () => {
  const cut = (text: string): string => text.replace(/=.*/, '="');
  expect(mapLogLine('{"url":"?key=abc","n":5}', cut)).toBe('{"url":"?key=\\"","n":5}');
  expect(mapLogLine('no JSON key=abc', cut)).toBe('no JSON key="');
});
