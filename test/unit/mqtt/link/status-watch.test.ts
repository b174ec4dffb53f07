import { beforeEach, describe, expect, it } from 'vitest';
import { StatusWatch } from '../../../../src/mqtt/link/status-watch.ts';
import { ManualClock } from '../../../fixtures/store.ts';

const TOPIC = 'swellsight/v1/test/dev1/status';
const at = (hour: number): string => `2026-06-01T${String(hour).padStart(2, '0')}:00:00.000Z`;
const message = (shown: unknown, retain = false, topic = TOPIC) => ({
  topic,
  payload: Buffer.from(typeof shown === 'string' ? shown : JSON.stringify(shown)),
  retain,
});
const NO_FINDING = { isStale: false, foreign: null };
const FOREIGN = { session: 'other', sign: 'status' };

let clock: ManualClock;
let watch: StatusWatch;
beforeEach(() => {
  clock = new ManualClock();
  watch = new StatusWatch({ session: 'own', topic: TOPIC }, clock);
});

/** The birth of one connection, with this retained status. */
function birth(broker: string, retained: object | null): unknown {
  watch.connected(broker);
  const verdict = retained === null ? NO_FINDING : watch.check(message(retained, true));
  watch.publishedOnline();
  return verdict;
}

describe('StatusWatch', () => {
  it('expects the retained status of the previous run, on each broker', () => {
    expect(birth('a', { state: 'offline', session: 'other', at: at(1) })).toEqual(NO_FINDING);
    expect(birth('b', { state: 'online', session: 'other', at: at(9) })).toEqual(NO_FINDING);
    // And an older status, as from a backup of the broker.
    expect(birth('a', { state: 'online', session: 'another', at: at(1) })).toEqual(NO_FINDING);
  });

  it('detects another agent by any newer status, during and after a birth', () => {
    birth('a', { state: 'stopped', session: 'other', at: at(1) });
    expect(watch.check(message({ state: 'online', session: 'other', at: at(2) })).foreign).toEqual(FOREIGN);
    expect(birth('a', { state: 'offline', session: 'other', at: at(3) })).toMatchObject({
      foreign: { ...FOREIGN, sign: 'absence' },
    });
  });

  it('detects another agent when there was no retained status at first', () => {
    birth('a', null);
    expect(birth('a', { state: 'online', session: 'other', at: at(1) })).toMatchObject({
      foreign: { ...FOREIGN, sign: 'absence' },
    });
  });

  it('tolerates a broker that delivers a retained status late', () => {
    birth('a', null);
    expect(watch.check(message({ state: 'stopped', session: 'other', at: at(1) }, true)).foreign).toBeNull();
  });

  it('does not replace the status of another agent that is online, but after it has left', () => {
    birth('a', null);
    for (const state of ['starting', 'online'])
      expect(watch.check(message({ state, session: 'other', at: at(1) }))).toEqual({
        isStale: false,
        foreign: FOREIGN,
      });
    expect(watch.check(message({ state: 'offline', session: 'other', at: at(2) }))).toEqual({
      isStale: true,
      foreign: FOREIGN,
    });
  });

  it('replaces a wrong status at most every two seconds, and only after `online` was published', () => {
    const own = { state: 'offline', session: 'own', at: at(1) };
    watch.connected('a');
    expect(watch.check(message(own))).toEqual(NO_FINDING);
    watch.publishedOnline();
    expect(watch.check(message({ ...own, state: 'online' }))).toEqual(NO_FINDING);
    expect(watch.check(message(own)).isStale).toBe(true);
    expect(watch.check(message(own)).isStale).toBe(false);
    clock.advance(2000);
    expect(watch.check(message('')).isStale).toBe(true);
    watch.disconnected();
    clock.advance(2000);
    expect(watch.check(message(own)).isStale).toBe(false);
  });

  it.each([
    '',
    'null',
    '[]',
    '"x"',
    '{',
    '{"session":1,"state":"online","at":"2026"}',
    '{"session":"x","state":"online"}',
  ])('ignores the invalid status %j', (payload) => {
    birth('a', null);
    expect(watch.check(message(payload)).foreign).toBeNull();
  });

  it('detects a client with the same id by a status of a topic that this one did not subscribe to', () => {
    birth('a', null);
    const elsewhere = 'swellsight/v1/test/dev2/status';
    expect(watch.check(message({ state: 'offline', session: 'other', at: at(1) }, false, elsewhere))).toEqual(
      {
        isStale: false,
        foreign: { session: 'other', sign: 'subscription' },
      },
    );
    expect(watch.check(message({ state: 'offline', session: 'own', at: at(1) }, false, elsewhere))).toEqual(
      NO_FINDING,
    );
    expect(watch.check(message('{}', false, elsewhere))).toEqual(NO_FINDING);
    expect(watch.check(message({ state: 'online', session: 'other' }, false, 'a/cmd/ping'))).toEqual(
      NO_FINDING,
    );
  });
});
