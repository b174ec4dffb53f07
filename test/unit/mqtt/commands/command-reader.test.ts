import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CommandReader, judgeTimes, parseStrictJson } from '../../../../src/mqtt/commands/command-reader.ts';
import { OBSERVATION_ID } from '../../../fixtures/agent-api.ts';
import { ManualClock } from '../../../fixtures/manual-clock.ts';

const reader = new CommandReader();
const read = (name: string, body: unknown) =>
  reader.read(name, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));

describe('CommandReader', () => {
  it.each([
    ['ping', {}],
    ['ping', undefined],
    ['info', {}],
    ['diagnostics', {}],
    ['capture', { camera: 'north' }],
    ['label', { observation_id: OBSERVATION_ID, height_m: 0 }],
    ['label', { observation_id: OBSERVATION_ID, height_m: 1.5, observer: 'ana', note: '' }],
    ['label', { observation_id: OBSERVATION_ID, height: 3, unit: 'ft', scale: 'hawaiian', tide_m: 0.2 }],
    ['label.remove', { observation_id: OBSERVATION_ID }],
    ['image', { camera: 'north' }],
    ['image', { camera: 'north', max_width_px: 1280, annotate: true }],
    ['backfill', { camera: 'north', from_seq: 1, to_seq: 10_000 }],
    ['backfill', { camera: 'north', from_seq: 5, to_seq: 5 }],
  ])('accepts %s %j', (name, args) => {
    expect(read(name, { id: 'x', args })).toEqual({
      ok: true,
      id: 'x',
      times: { issuedAtMs: null, expiresAtMs: null },
      wantsReceipt: true,
      command: { name, args: args ?? {} },
    });
  });

  it('reads whether the sender wants a receipt', () => {
    expect(read('ping', { id: 'x', receipt: false })).toMatchObject({ ok: true, wantsReceipt: false });
    expect(read('ping', { id: 'x', receipt: 'no' })).toMatchObject({ ok: false, id: 'x' });
  });

  it.each([
    ['ping', { to: 'x' }],
    ['capture', {}],
    ['capture', { camera: '' }],
    ['capture', { camera: 'x'.repeat(65) }],
    ['capture', { camera: ['north'] }],
    ['label', { observation_id: OBSERVATION_ID }],
    ['label', { observation_id: OBSERVATION_ID, height_m: '1' }],
    ['label', { observation_id: OBSERVATION_ID, height_m: 25.1 }],
    ['label', { observation_id: OBSERVATION_ID, height_m: null }],
    ['label.remove', {}],
    ['label.remove', { observation_id: OBSERVATION_ID, height_m: 1 }],
    ['image', { camera: 'north', max_width_px: 63 }],
    ['image', { camera: 'north', max_width_px: 4097 }],
    ['image', { camera: 'north', max_width_px: 100.5 }],
    ['image', { camera: 'north', annotate: 'yes' }],
    ['image', { camera: 'north', masks: false }],
    ['backfill', { camera: 'north', from_seq: 0, to_seq: 5 }],
    ['backfill', { camera: 'north', from_seq: 6, to_seq: 5 }],
    ['backfill', { camera: 'north', from_seq: 1, to_seq: 10_001 }],
    ['backfill', { camera: 'north', from_seq: 1, to_seq: 2 ** 60 }],
    ['backfill', { camera: 'north', from_seq: 1 }],
  ])('rejects %s %j as bad_args', (name, args) => {
    const input = read(name, { id: 'x', args });
    expect(input).toMatchObject({ ok: false, id: 'x', reason: expect.stringMatching(/^bad_args: /) });
  });

  it('names the argument that is missing, unknown or wrong', () => {
    expect(read('ping', { id: 'x', args: { to: 'x' } })).toMatchObject({
      reason: 'bad_args: /to is unknown',
    });
    expect(read('ping', { id: 'x', args: { 'a\n\u2028\u001bb': 1 } })).toMatchObject({
      reason: 'bad_args: /a???b is unknown',
    });
    expect(read('ping', { id: 'x', args: { [`${'a'.repeat(299)}😀`]: 1 } })).toMatchObject({
      reason: expect.stringMatching(/^bad_args: \/a+�?$/),
    });
    expect(read('capture', { id: 'x' })).toMatchObject({ reason: expect.stringContaining("'camera'") });
    expect(read('capture', { id: 'x', args: { camera: 7 } })).toMatchObject({
      reason: 'bad_args: /camera must be string',
    });
  });

  it('rejects every name that is not in the contract', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'PING', 'ping ', 'label_remove', ''])
      expect(read(name, { id: 'x' })).toMatchObject({ ok: false, id: 'x', reason: 'unknown_command' });
  });

  it('rejects prototype members and duplicate members', () => {
    for (const body of [
      '{"id":"x","__proto__":{"args":{}}}',
      '{"id":"x","args":{"__proto__":{"camera":"north"}}}',
      '{"id":"x","args":{"constructor":{"prototype":{}},"camera":"north"}}',
      '{"id":"x","id":"y"}',
      '{"id":"x","args":{"camera":"north","camera":"south"}}',
    ])
      expect(read('capture', body)).toMatchObject({ ok: false });
    expect(({} as Record<string, unknown>)['camera']).toBeUndefined();
  });

  it('returns the id of an invalid message only if the id is valid', () => {
    const idOf = (body: unknown): string | null => {
      const input = read('ping', body);
      return input.ok ? 'ran' : input.id;
    };
    expect(idOf({ id: 'x', evil: 1 })).toBe('x');
    expect(idOf({ id: 'x'.repeat(128), evil: 1 })).toBe('x'.repeat(128));
    expect(idOf({ id: 'x'.repeat(129) })).toBeNull();
    expect(idOf({ id: 7 })).toBeNull();
    expect(idOf('{"id":"\\ud800"}')).toBeNull();
    expect(idOf('{"id":"\\ud800","evil":1}')).toBeNull();
    expect(idOf({ id: 'a\0b' })).toBe('a\0b');
    expect(idOf({ id: 'a\nb' })).toBe('a\nb');
    expect(idOf({ id: '波-🌊-é' })).toBe('ran');
  });

  it('parses the times, and rejects invalid ones', () => {
    const issued_at = '2026-06-01T00:00:00.000Z';
    expect(read('ping', { id: 'x', issued_at, expires_at: '2026-06-01T02:00:00+01:00' })).toMatchObject({
      ok: true,
      times: { issuedAtMs: Date.UTC(2026, 5, 1), expiresAtMs: Date.UTC(2026, 5, 1, 1) },
    });
    for (const expires_at of ['tomorrow', '2026-06-01', 5, null, '2026-13-01T00:00:00Z', ''])
      expect(read('ping', { id: 'x', expires_at })).toMatchObject({ ok: false, id: 'x' });
  });

  it('rejects a payload that is too large', () => {
    const note = 'x'.repeat(66_000);
    expect(read('ping', { id: 'x', args: { note } })).toEqual({ ok: false, id: null, reason: 'too_large' });
  });

  it('limits the length of the reason', () => {
    const args = Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`name-${n}`, n]));
    const input = read('ping', { id: 'x', args });
    expect(input.ok ? '' : input.reason.length).toBeLessThan(320);
  });
});

const parse = (text: string | Uint8Array) =>
  parseStrictJson(typeof text === 'string' ? Buffer.from(text) : text);

describe('parseStrictJson', () => {
  it('parses strict JSON', () => {
    expect(parse(' {"a": {"b": [1, {"b": 2}, {"b": "}{"}]}, "b": "\\"a\\":" } ')).toEqual({
      ok: true,
      value: { a: { b: [1, { b: 2 }, { b: '}{' }] }, b: '"a":' },
    });
    expect(parse('"a\\\\"')).toEqual({ ok: true, value: 'a\\' });
  });

  it.each([
    ['{"a":1,"a":2}', 'duplicate member name in an object'],
    ['{"a":1,"\\u0061":2}', 'duplicate member name in an object'],
    ['{"x":[{"id":"1", "id" : "2"}]}', 'duplicate member name in an object'],
    ['{"__proto__":1,"__proto__":2}', 'duplicate member name in an object'],
    [`${'['.repeat(17)}${']'.repeat(17)}`, 'nested too deeply'],
    [`${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}`, 'nested too deeply'],
    ['[".repeat(20000)', 'not valid JSON'],
    ['{"a":1}{"a":1}', 'not valid JSON'],
    ["{'a':1}", 'not valid JSON'],
    ['{"a":NaN}', 'not valid JSON'],
    ['', 'not valid JSON'],
  ])('rejects %s: %s', (text, fault) => {
    expect(parse(text)).toEqual({ ok: false, fault });
  });

  it('rejects invalid UTF-8', () => {
    // An overlong slash, half of a surrogate pair, a truncated character.
    for (const bytes of [
      [0x22, 0xc0, 0xaf, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x22, 0xe2, 0x82, 0x22],
    ])
      expect(parse(Uint8Array.from(bytes))).toEqual({ ok: false, fault: 'not valid JSON' });
  });

  it('agrees with JSON.parse on generated documents', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        expect(parse(text)).toEqual({ ok: true, value: JSON.parse(text) as unknown });
      }),
      { numRuns: 500 },
    );
  });

  it('never throws, and finds a duplicate member name', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        parse(bytes);
      }),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(fc.string(), fc.json({ maxDepth: 3 }), fc.json({ maxDepth: 3 }), (name, one, two) => {
        const key = JSON.stringify(name);
        expect(parse(`{"other":0.5, ${key} : ${one} , ${key}:${two}}`)).toMatchObject({ ok: false });
      }),
    );
  });
});

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

describe('judgeTimes', () => {
  /** One hour after boot. */
  const clock = new ManualClock(Date.UTC(2026, 5, 1), HOUR_MS);
  const nowMs = clock.nowMs();
  const bootClock = new ManualClock(nowMs, MINUTE_MS);

  it.each([
    ['no times', null, null, true, 'in_time'],
    ['no expiry, issued next year', 9000 * HOUR_MS, null, true, 'in_time'],
    ['not expired yet', -MINUTE_MS, MINUTE_MS, true, 'in_time'],
    ['expires in years', null, 90_000 * HOUR_MS, true, 'in_time'],
    ['expired', -2 * MINUTE_MS, -MINUTE_MS, true, 'expired'],
    ['expires at this moment', null, 0, true, 'expired'],
    ['expires before it was issued', 4 * MINUTE_MS, 3 * MINUTE_MS, true, 'expired'],
    ['sender clock some minutes ahead', 4 * MINUTE_MS, 9 * MINUTE_MS, true, 'in_time'],
    ['sender clock one hour ahead', HOUR_MS, 2 * HOUR_MS, true, 'issued_in_future'],
    ['expired by an unsynced clock', null, -MINUTE_MS, false, 'expired'],
    ['unsynced clock one hour behind the sender clock', HOUR_MS, 2 * HOUR_MS, false, 'clock_unsynced'],
    ['unsynced clock one hour after boot', -1000, MINUTE_MS, false, 'in_time'],
  ] as const)('judges %s', (_case, issuedMs, expiresMs, isSynced, verdict) => {
    const times = {
      issuedAtMs: issuedMs === null ? null : nowMs + issuedMs,
      expiresAtMs: expiresMs === null ? null : nowMs + expiresMs,
    };
    expect(judgeTimes(times, clock, isSynced)).toBe(verdict);
  });

  it('requires a synced clock after boot, except for commands without expiry', () => {
    const times = { issuedAtMs: nowMs - 1000, expiresAtMs: nowMs + MINUTE_MS };
    expect(judgeTimes(times, bootClock, false)).toBe('clock_unsynced');
    expect(judgeTimes(times, bootClock, true)).toBe('in_time');
    expect(judgeTimes({ ...times, expiresAtMs: null }, bootClock, false)).toBe('in_time');
  });

  it('judges an invalid time as expired', () => {
    expect(judgeTimes({ issuedAtMs: null, expiresAtMs: NaN }, clock, true)).toBe('expired');
    expect(judgeTimes({ issuedAtMs: NaN, expiresAtMs: nowMs + 1000 }, clock, true)).toBe('expired');
  });
});
