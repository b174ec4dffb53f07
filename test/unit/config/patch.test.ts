import { describe, expect, it } from 'vitest';
import { checkPatch, loadWithOverlay, LOCAL_KEYS } from '../../../src/config/patch.ts';
import { AgentError } from '../../../src/base/errors.ts';

const KNOWN = new Set(['north']);

function getRefusal(patch: unknown): AgentError {
  try {
    checkPatch(patch, KNOWN);
  } catch (error) {
    if (error instanceof AgentError) return error;
    throw error;
  }
  throw new Error('the patch was accepted');
}
const patchOf = (key: string): object =>
  key.split('.').reduceRight<unknown>((value, part) => ({ [part]: value }), 'x') as object;
const north = (more: object): object => ({ cameras: [{ id: 'north', ...more }] });

describe('local keys', () => {
  it.each(LOCAL_KEYS.map((key) => [key, patchOf(key)] as const))('refuses %s', (key, patch) => {
    const { code, message } = getRefusal(patch);
    expect([code, message]).toEqual(['config_locked', `only the device itself may set ${key}`]);
  });

  it.each([
    [north({ kind: 'command', command: ['sh', '-c', 'id'] }), /command, cameras\[0\].kind/],
    [north({ command: ['id'] }), /cameras\[0\].command/],
    [north({ path: '/etc/shadow' }), /cameras\[0\].path/],
    [north({ password_file: '/etc/shadow' }), /cameras\[0\].password_file/],
    [north({ kind: 'video' }), /cameras\[0\].kind/],
    [north({ recursive: true }), /cameras\[0\].recursive/],
    [{ cameras: [{ id: 'new', kind: 'directory', path: '/root' }] }, /cameras\[0\].path, cameras\[0\].kind/],
    [{ cameras: [{ id: 'new', kind: 'v4l2', path: '/dev/video9' }] }, /cameras\[0\].path, cameras\[0\].kind/],
  ])('refuses %j', (patch, keys) => {
    const { code, message } = getRefusal(patch);
    expect(code).toBe('config_locked');
    expect(message).toMatch(keys);
  });

  it('names all of them together, without the given values', () => {
    const { message } = getRefusal({
      stateDir: '/x',
      mqtt: { key: '/k' },
      cameras: [{ id: 'north', path: '/p' }],
    });
    expect(message).toBe('only the device itself may set stateDir, mqtt.key, cameras[0].path');
  });
});

describe('invalid patches', () => {
  it.each([
    [5, '(all)'],
    [null, '(all)'],
    [[], '(all)'],
    [{ logLevl: 'debug' }, 'logLevl: an unknown key, perhaps logLevel'],
    [{ mqtt: 'mqtt://h' }, 'mqtt: wanted a group'],
    [{ mqtt: { url: { a: 1 } } }, 'mqtt.url: wanted'],
    [{ cameras: {} }, 'cameras: wanted a list'],
    [{ cameras: [5] }, 'cameras[0].id: wanted the id of a camera'],
    [{ cameras: [{ kind: 'rtsp' }] }, 'cameras[0].id: wanted the id of a camera'],
    [{ cameras: [{ id: 'north' }, { id: 'north' }] }, 'cameras[1].id: wanted each camera once'],
    [{ cameras: [{ id: 'typo', timeoutS: 4 }] }, 'cameras[0].id: wanted one of north; or a kind'],
    [north({ schedul: null }), 'cameras[0].schedul: an unknown key, perhaps schedule'],
    [north({ schedule: { evryS: null } }), 'cameras[0].schedule.evryS: an unknown key, perhaps everyS'],
    [JSON.parse('{"__proto__": {"a": 1}}'), '__proto__: an unknown key'],
    [JSON.parse('{"constructor": {"prototype": {"a": 1}}}'), 'constructor: an unknown key'],
    [JSON.parse('{"cameras": [{"id": "north", "__proto__": {"a": 1}}]}'), 'cameras[0].__proto__: an unknown'],
    [JSON.parse('{"mqtt": {"constructor": 1}}'), 'mqtt.constructor: an unknown key'],
  ])('reports %j', (patch, expected) => {
    const { code, message } = getRefusal(patch);
    expect(code).toBe('config_invalid');
    expect(message).toContain(expected);
  });

  it('limits the length of the message for many faults', () => {
    const patch = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`k${String(index)}`, 'x']));
    const { message } = getRefusal(patch);
    expect(message).toMatch(/^the change has 5000 faults\n/);
    expect(message).toContain('and 4980 more');
    expect(message.length).toBeLessThan(8000);
  });

  it('are not loaded when they are too large', () => {
    const load = () => {
      throw new Error('loaded');
    };
    const overlay = { mqtt: { username: 'x'.repeat(128 * 1024) } };
    expect(() => loadWithOverlay(overlay, load)).toThrow(/at most 131072 bytes/);
  });

  it('does not repeat the given values', () => {
    const { message } = getRefusal({
      mqtt: { url: { user: 'hunter2' } },
      cameras: [{ password: 'hunter2' }, 'hunter2'],
    });
    expect(message).not.toContain('hunter2');
  });
});
