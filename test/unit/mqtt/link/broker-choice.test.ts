import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { BrokerChoice } from '../../../../src/mqtt/link/broker-choice.ts';
import { connectFailure, HungUp, publishFailure } from '../../../../src/mqtt/link/connect-failure.ts';

const coded = (code: number | string): Error => Object.assign(new Error('e'), { code });

describe('BrokerChoice', () => {
  it('takes the addresses in turn, and the first one again after it was connected', () => {
    const choice = new BrokerChoice(['a', 'b', 'c'], 5);
    const tried = [1, 2, 3, 4].map(() => {
      const { url } = choice.current();
      choice.failed('unreachable');
      return url;
    });
    expect(tried).toEqual(['a', 'b', 'c', 'a']);
    choice.succeeded();
    choice.lost(true, 'unreachable');
    expect(choice.current().url).toBe('a');
  });

  it('goes on to the next address when a broker takes it and loses it again soon', () => {
    const choice = new BrokerChoice(['a', 'b'], 5);
    const tried = [1, 2, 3].map(() => {
      const { url } = choice.current();
      choice.succeeded();
      choice.lost(false, 'unreachable');
      return url;
    });
    expect(tried).toEqual(['a', 'b', 'a']);
  });

  it('slows down only when no broker wants it', () => {
    const choice = new BrokerChoice(['a', 'b'], 5);
    expect(choice.failed('refused')).toBe('usual');
    expect(choice.failed('unreachable')).toBe('usual');
    expect([choice.failed('refused'), choice.failed('refused')]).toEqual(['usual', 'slowly']);
    expect(choice.failed('pressed')).toBe('pressed');
    choice.succeeded();
    expect(choice.lost(false, 'unreachable')).toBe('usual');
    expect([choice.lost(true, 'moved'), choice.lost(true, 'refused')]).toEqual(['usual', 'pressed']);
  });

  it('tries the newer version again after an hour, when a link is lost', () => {
    let nowMs = 0;
    const choice = new BrokerChoice(['a'], 5, () => nowMs);
    choice.failed('version');
    choice.succeeded();
    choice.lost(true, 'unreachable');
    expect(choice.current().protocolVersion).toBe(4);
    nowMs = 3_700_000;
    choice.lost(true, 'unreachable');
    expect(choice.current().protocolVersion).toBe(5);
    choice.failed('version');
    nowMs += 60_000;
    choice.lost(true, 'unreachable');
    expect(choice.current().protocolVersion).toBe(4);
  });

  it('goes down to 3.1.1 at once when the broker says so, and by trial when it hangs up', () => {
    const told = new BrokerChoice(['a'], 5);
    expect(told.failed('version')).toBe('at_once');
    expect(told.current().protocolVersion).toBe(4);
    expect(told.failed('version')).toBe('usual');
    const silent = new BrokerChoice(['a'], 5);
    const versions = Array.from({ length: 5 }, () => {
      const { protocolVersion } = silent.current();
      silent.failed('hung_up');
      return protocolVersion;
    });
    expect(versions).toEqual([5, 5, 4, 4, 5]);
  });

  it('never goes up from a 3.1.1 that was asked for', () => {
    const choice = new BrokerChoice(['a'], 4);
    for (let n = 0; n < 6; n += 1) {
      expect(choice.failed('hung_up')).toBe('usual');
      expect(choice.current().protocolVersion).toBe(4);
    }
    expect(choice.failed('version')).toBe('usual');
  });
});

describe('connectFailure', () => {
  it('sorts what brokers, TLS and the network answer', () => {
    const kind = (thrown: unknown): string => connectFailure(thrown, 'h:1').kind;
    for (const code of [
      4,
      5,
      134,
      135,
      'CERT_HAS_EXPIRED',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ])
      expect(kind(coded(code))).toBe('refused');
    for (const code of [1, 132]) expect(kind(coded(code))).toBe('version');
    // A board whose clock is not set yet sees certificates of the future.
    for (const code of ['CERT_NOT_YET_VALID', 'ECONNREFUSED', 'ENOTFOUND', 3, 128, 136])
      expect(kind(coded(code))).toBe('unreachable');
    for (const code of [137, 147, 151, 159]) expect(kind(coded(code))).toBe('pressed');
    for (const code of [156, 157]) expect(kind(coded(code))).toBe('moved');
    for (const thrown of [coded('ECONNRESET'), new HungUp('x')]) expect(kind(thrown)).toBe('hung_up');
    expect(connectFailure(new AgentError('mqtt_timeout', 't'), 'h:1').error.code).toBe('mqtt_timeout');
  });
});

describe('publishFailure', () => {
  it('tells what is final from what is not', () => {
    const code = (thrown: unknown): string => publishFailure(thrown, 't').code;
    for (const now of [128, 131, 151]) expect(code(coded(now))).toBe('mqtt_busy');
    for (const never of [135, 144, 153]) expect(code(coded(never))).toBe('mqtt_publish_refused');
    expect(code(coded(149))).toBe('mqtt_too_large');
    expect(code(new Error('client disconnecting'))).toBe('mqtt_unreachable');
  });
});
