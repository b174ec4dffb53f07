import { beforeEach, describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { connectFailure } from '../../../../src/mqtt/link/failures.ts';
import { LinkFaults, type SessionEnd } from '../../../../src/mqtt/link/faults.ts';
import type { EventDraft } from '../../../../src/contract/states.ts';
import { ManualClock } from '../../../fixtures/store.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const disconnected = (code: number): SessionEnd => ({
  broker: 'b:1',
  disconnect: { code, serverReference: null },
  receivedOversizedPacket: false,
  endReason: `the broker sent DISCONNECT, reason ${String(code)}`,
});
const refusal = connectFailure(Object.assign(new Error('no'), { code: 135 }), 'mqtt://b:1');

let clock: ManualClock;
let events: EventDraft[];
let faults: LinkFaults;
beforeEach(() => {
  clock = new ManualClock();
  events = [];
  faults = new LinkFaults('id', { clock, raise: (event) => events.push(event) });
});
const eventTypes = (): string[] => events.map(({ type }) => type);

describe('LinkFaults', () => {
  it('keeps why there is no connection until the broker accepts the device', () => {
    expect(faults.failure).toBeNull();
    faults.connectFailed(refusal);
    expect(faults.failure).toBe(refusal.error);
    faults.accepted();
    expect(faults.failure).toBeNull();
    faults.sessionEnded(disconnected(139));
    expect(faults.failure).toMatchObject({ context: { reason: 'the broker sent DISCONNECT, reason 139' } });
  });

  it('raises one event about a refusal until the broker accepts the device', () => {
    for (let n = 0; n < 3; n += 1) {
      faults.connectFailed(refusal);
      clock.advance(DAY_MS);
    }
    expect(eventTypes()).toEqual(['mqtt_refused']);
    expect(faults.codes()).toEqual(['link_refused']);
    faults.accepted();
    expect(faults.codes()).toEqual([]);
    faults.connectFailed(refusal);
    expect(eventTypes()).toHaveLength(2);
  });

  it('raises at most one event an hour about a broker that accepts and then disconnects the device', () => {
    for (let n = 0; n < 10; n += 1) {
      faults.accepted();
      expect(faults.sessionEnded(disconnected(135))).toBe('refused');
    }
    expect(eventTypes()).toEqual(['mqtt_refused']);
    clock.advance(HOUR_MS);
    faults.sessionEnded(disconnected(135));
    expect(eventTypes()).toHaveLength(2);
  });

  it('reports another agent for an hour, and an identity conflict when that agent disconnected this one', () => {
    faults.identityConflict('status', 'other');
    expect([faults.codes(), faults.hasIdentityConflict]).toEqual([['link_contested'], false]);
    faults.identityConflict('absence', 'other');
    expect(faults.hasIdentityConflict).toBe(true);
    expect(eventTypes()).toEqual(['mqtt_taken_over']);
    clock.advance(HOUR_MS);
    expect([faults.codes(), faults.hasIdentityConflict]).toEqual([[], false]);
    expect(faults.sessionEnded(disconnected(142))).toBe('taken_over');
    expect(eventTypes()).toHaveLength(2);
  });

  it('warns of a certificate once, and again after the clock was wrong', () => {
    const validity = {
      fromMs: clock.wallMs - 300 * DAY_MS,
      untilMs: clock.wallMs + 60 * DAY_MS,
      fingerprint: 'f',
    };
    const checkInDays = (days: number): void =>
      faults.checkCertificates(validity, validity, clock.wallMs + days * DAY_MS);
    checkInDays(0);
    expect(events).toEqual([]);
    checkInDays(400);
    checkInDays(400);
    expect(events.map(({ severity, context }) => [severity, context['whose']])).toEqual([
      ['error', 'device'],
      ['error', 'broker'],
    ]);
    checkInDays(0);
    expect(faults.codes()).toEqual([]);
    checkInDays(50);
    expect(events.slice(2).map(({ severity }) => severity)).toEqual(['warning', 'warning']);
    expect(faults.codes()).toEqual(['certificate_expiring:device', 'certificate_expiring:broker']);
  });

  it('tolerates unusable files for 30 s while they are replaced', () => {
    const fault = new AgentError('mqtt_refused', 'incomplete', { context: { file: '/k' } });
    faults.setCredentialFault(fault);
    clock.advance(29_000);
    faults.setCredentialFault(fault);
    faults.setCredentialFault(null);
    clock.advance(29_000);
    faults.setCredentialFault(fault);
    expect(events).toEqual([]);
    clock.advance(30_000);
    faults.setCredentialFault(fault);
    faults.setCredentialFault(fault);
    expect(eventTypes()).toEqual(['mqtt_credentials_unusable']);
    expect(faults.codes()).toEqual(['credentials_unusable']);
    faults.setCredentialFault(null);
    expect(faults.codes()).toEqual([]);
  });

  it('raises events about a redirect and about an oversized packet', () => {
    expect(faults.sessionEnded(disconnected(157))).toBe('moved');
    expect(faults.sessionEnded(disconnected(151))).toBe('busy');
    const oversized = {
      broker: 'b:1',
      disconnect: null,
      receivedOversizedPacket: true,
      endReason: 'too large',
    };
    expect(faults.sessionEnded(oversized)).toBe('unreachable');
    expect(eventTypes()).toEqual(['mqtt_moved', 'mqtt_session_forgotten']);
  });
});
