import { beforeEach, describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { connectFailure } from '../../../../src/mqtt/link/connect-failure.ts';
import { LinkCredentials } from '../../../../src/mqtt/link/credentials.ts';
import { LinkTending } from '../../../../src/mqtt/link/watch.ts';
import { LinkTroubles } from '../../../../src/mqtt/link/faults.ts';
import type { EventDraft } from '../../../../src/store/types.ts';
import { ManualClock } from '../../../fixtures/store.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const ending = (code: number) => ({
  broker: 'b:1',
  farewell: { code, serverReference: null },
  overlong: false,
});
const refusal = connectFailure(Object.assign(new Error('no'), { code: 135 }), 'b:1');

let clock: ManualClock;
let events: EventDraft[];
let troubles: LinkTroubles;
beforeEach(() => {
  clock = new ManualClock();
  events = [];
  troubles = new LinkTroubles('id', { clock, raise: (event) => events.push(event) });
});
const types = (): string[] => events.map(({ type }) => type);

describe('LinkTroubles', () => {
  it('tells once of a refusal, until the broker takes it', () => {
    for (let n = 0; n < 3; n += 1) {
      troubles.failed(refusal);
      clock.advance(DAY_MS);
    }
    expect(types()).toEqual(['mqtt_refused']);
    expect(troubles.codes()).toEqual(['link_refused']);
    troubles.accepted();
    expect(troubles.codes()).toEqual([]);
    troubles.failed(refusal);
    expect(types()).toHaveLength(2);
  });

  it('tells at most once an hour of a broker that takes it and dismisses it again', () => {
    for (let n = 0; n < 10; n += 1) {
      troubles.accepted();
      expect(troubles.ended(ending(135))).toBe('refused');
    }
    expect(types()).toEqual(['mqtt_refused']);
    clock.advance(HOUR_MS);
    troubles.ended(ending(135));
    expect(types()).toHaveLength(2);
  });

  it('shows another agent for an hour, and calls it a fight when it was thrown out', () => {
    troubles.takenOver('status', 'other');
    expect([troubles.codes(), troubles.fought]).toEqual([['link_contested'], false]);
    troubles.takenOver('absence', 'other');
    expect(troubles.fought).toBe(true);
    expect(types()).toEqual(['mqtt_taken_over']);
    clock.advance(HOUR_MS);
    expect([troubles.codes(), troubles.fought]).toEqual([[], false]);
    expect(troubles.ended(ending(142))).toBe('taken_over');
    expect(types()).toHaveLength(2);
  });

  it('warns of a certificate once, and again after a clock that was wrong', () => {
    const validity = {
      fromMs: clock.wallMs - 300 * DAY_MS,
      untilMs: clock.wallMs + 60 * DAY_MS,
      fingerprint: 'f',
    };
    const judge = (inDays: number): void =>
      troubles.certificates(validity, validity, clock.wallMs + inDays * DAY_MS);
    judge(0);
    expect(events).toEqual([]);
    judge(400);
    judge(400);
    expect(events.map(({ severity, context }) => [severity, context['whose']])).toEqual([
      ['error', 'device'],
      ['error', 'broker'],
    ]);
    judge(0);
    expect(troubles.codes()).toEqual([]);
    judge(50);
    expect(events.slice(2).map(({ severity }) => severity)).toEqual(['warning', 'warning']);
    expect(troubles.codes()).toEqual(['certificate_expiring:device', 'certificate_expiring:broker']);
  });

  it('is patient with files that are being replaced', () => {
    const fault = new AgentError('mqtt_refused', 'half', { context: { file: '/k' } });
    troubles.files(fault);
    clock.advance(29_000);
    troubles.files(fault);
    troubles.files(null);
    clock.advance(29_000);
    troubles.files(fault);
    expect(events).toEqual([]);
    clock.advance(30_000);
    troubles.files(fault);
    troubles.files(fault);
    expect(types()).toEqual(['mqtt_credentials_unusable']);
    expect(troubles.codes()).toEqual(['credentials_unusable']);
    troubles.files(null);
    expect(troubles.codes()).toEqual([]);
  });

  it('tells of a broker that has moved', () => {
    expect(troubles.ended(ending(157))).toBe('moved');
    expect(troubles.ended(ending(151))).toBe('pressed');
    expect(troubles.ended({ broker: 'b:1', farewell: null, overlong: true })).toBe('unreachable');
    expect(types()).toEqual(['mqtt_moved', 'mqtt_session_forgotten']);
  });
});

describe('LinkTending', () => {
  const NONE = { username: null, password: null, ca: null, cert: null, key: null };

  it('waits as long as it is told, and no longer once the clock is set', async () => {
    const credentials = new LinkCredentials(NONE, clock);
    credentials.look();
    const tending = new LinkTending({ lookEveryMs: 30_000 }, { clock, credentials, troubles });
    const { signal } = new AbortController();
    const beganMs = clock.monoMs();
    await tending.pause(62_000, signal);
    expect(clock.monoMs() - beganMs).toBe(62_000);
    // The clock is set at the third look.
    const sleep = clock.sleep.bind(clock);
    let looks = 0;
    clock.sleep = (ms) => {
      looks += 1;
      if (looks === 3) clock.wallMs += 400 * DAY_MS;
      return sleep(ms);
    };
    await tending.pause(600_000, signal);
    expect(looks).toBe(3);
    await tending.pause(0, signal);
    expect(looks).toBe(3);
  });
});
