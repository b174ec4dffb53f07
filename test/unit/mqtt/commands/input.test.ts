import { describe, expect, it } from 'vitest';
import { ARGS_RULES } from '../../../../src/mqtt/commands/handlers.ts';
import { CommandReader } from '../../../../src/mqtt/commands/input.ts';
import { OBSERVATION_ID } from '../../../fixtures/agent-api.ts';

const reader = new CommandReader(ARGS_RULES);
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
    ['label.remove', { observation_id: OBSERVATION_ID }],
    ['image', { camera: 'north' }],
    ['image', { camera: 'north', max_width_px: 1280, annotate: true }],
    ['backfill', { camera: 'north', from_seq: 1, to_seq: 10_000 }],
    ['backfill', { camera: 'north', from_seq: 5, to_seq: 5 }],
  ])('takes %s %j', (name, args) => {
    expect(read(name, { id: 'x', args })).toEqual({
      ok: true,
      id: 'x',
      times: { issuedAtMs: null, expiresAtMs: null },
      command: { name, args: args ?? {} },
    });
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
  ])('refuses %s %j', (name, args) => {
    const input = read(name, { id: 'x', args });
    expect(input).toMatchObject({ ok: false, id: 'x', reason: expect.stringMatching(/^bad_args: /) });
  });

  it('knows no command but those of the contract', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'PING', 'ping ', 'label_remove', ''])
      expect(read(name, { id: 'x' })).toMatchObject({ ok: false, id: 'x', reason: 'unknown_command' });
  });

  it('cannot be talked into other properties', () => {
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

  it('gives the id back only where it is one', () => {
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

  it('reads the times', () => {
    const issued_at = '2026-06-01T00:00:00.000Z';
    expect(read('ping', { id: 'x', issued_at, expires_at: '2026-06-01T02:00:00+01:00' })).toMatchObject({
      ok: true,
      times: { issuedAtMs: Date.UTC(2026, 5, 1), expiresAtMs: Date.UTC(2026, 5, 1, 1) },
    });
    for (const expires_at of ['tomorrow', '2026-06-01', 5, null, '2026-13-01T00:00:00Z', ''])
      expect(read('ping', { id: 'x', expires_at })).toMatchObject({ ok: false, id: 'x' });
  });

  it('does not read what is too large', () => {
    const note = 'x'.repeat(66_000);
    expect(read('ping', { id: 'x', args: { note } })).toEqual({ ok: false, id: null, reason: 'too_large' });
  });

  it('bounds the reason', () => {
    const args = Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`name-${n}`, n]));
    const input = read('ping', { id: 'x', args });
    expect(input.ok ? '' : input.reason.length).toBeLessThan(320);
  });
});
