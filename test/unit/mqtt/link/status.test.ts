import { beforeEach, describe, expect, it } from 'vitest';
import { StatusWatch } from '../../../../src/mqtt/link/status.ts';
import { ManualClock } from '../../../fixtures/store.ts';

const TOPIC = 'swellsight/v1/test/dev1/status';
const at = (hour: number): string => `2026-06-01T${String(hour).padStart(2, '0')}:00:00.000Z`;
const message = (shown: unknown, retain = false, topic = TOPIC) => ({
  topic,
  payload: Buffer.from(typeof shown === 'string' ? shown : JSON.stringify(shown)),
  retain,
});
const NOTHING = { stale: false, foreign: null };
const FOREIGN = { session: 'other', sign: 'status' };

let clock: ManualClock;
let watch: StatusWatch;
beforeEach(() => {
  clock = new ManualClock();
  watch = new StatusWatch({ session: 'own', topic: TOPIC }, clock);
});

/** One whole connection's birth, at which this stands on the topic. */
function born(broker: string, standing: object | null): unknown {
  watch.begin(broker);
  const sighting = standing === null ? NOTHING : watch.see(message(standing, true));
  watch.saidOnline();
  return sighting;
}

describe('StatusWatch', () => {
  it('takes what the run before left for granted, on each broker', () => {
    expect(born('a', { state: 'offline', session: 'other', at: at(1) })).toEqual(NOTHING);
    expect(born('b', { state: 'online', session: 'other', at: at(9) })).toEqual(NOTHING);
    // And an older word, as from a backup of the broker.
    expect(born('a', { state: 'online', session: 'another', at: at(1) })).toEqual(NOTHING);
  });

  it('sees another agent by any later word, at a birth and between', () => {
    born('a', { state: 'stopped', session: 'other', at: at(1) });
    expect(watch.see(message({ state: 'online', session: 'other', at: at(2) })).foreign).toEqual(FOREIGN);
    expect(born('a', { state: 'offline', session: 'other', at: at(3) })).toMatchObject({
      foreign: { ...FOREIGN, sign: 'absence' },
    });
  });

  it('sees one where nothing stood at first', () => {
    born('a', null);
    expect(born('a', { state: 'online', session: 'other', at: at(1) })).toMatchObject({
      foreign: { ...FOREIGN, sign: 'absence' },
    });
  });

  it('does not suspect a broker that hands out what it kept late', () => {
    born('a', null);
    expect(watch.see(message({ state: 'stopped', session: 'other', at: at(1) }, true)).foreign).toBeNull();
  });

  it('does not argue with another that is there, and mends when it goes', () => {
    born('a', null);
    for (const state of ['starting', 'online'])
      expect(watch.see(message({ state, session: 'other', at: at(1) }))).toEqual({
        stale: false,
        foreign: FOREIGN,
      });
    expect(watch.see(message({ state: 'offline', session: 'other', at: at(2) }))).toEqual({
      stale: true,
      foreign: FOREIGN,
    });
  });

  it('mends what is not true, at most every two seconds, and only once `online` was said', () => {
    const own = { state: 'offline', session: 'own', at: at(1) };
    watch.begin('a');
    expect(watch.see(message(own))).toEqual(NOTHING);
    watch.saidOnline();
    expect(watch.see(message({ ...own, state: 'online' }))).toEqual(NOTHING);
    expect(watch.see(message(own)).stale).toBe(true);
    expect(watch.see(message(own)).stale).toBe(false);
    clock.advance(2000);
    expect(watch.see(message('')).stale).toBe(true);
    watch.ended();
    clock.advance(2000);
    expect(watch.see(message(own)).stale).toBe(false);
  });

  it.each([
    '',
    'null',
    '[]',
    '"x"',
    '{',
    '{"session":1,"state":"online","at":"2026"}',
    '{"session":"x","state":"online"}',
  ])('suspects nobody for %j', (payload) => {
    born('a', null);
    expect(watch.see(message(payload)).foreign).toBeNull();
  });

  it('knows a client with its id by a status that it never asked for', () => {
    born('a', null);
    const elsewhere = 'swellsight/v1/test/dev2/status';
    expect(watch.see(message({ state: 'offline', session: 'other', at: at(1) }, false, elsewhere))).toEqual({
      stale: false,
      foreign: { session: 'other', sign: 'subscription' },
    });
    expect(watch.see(message({ state: 'offline', session: 'own', at: at(1) }, false, elsewhere))).toEqual(
      NOTHING,
    );
    expect(watch.see(message('{}', false, elsewhere))).toEqual(NOTHING);
    expect(watch.see(message({ state: 'online', session: 'other' }, false, 'a/cmd/ping'))).toEqual(NOTHING);
  });
});
