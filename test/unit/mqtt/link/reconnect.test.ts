import { describe, expect, it } from 'vitest';
import { DEFAULT_TUNING } from '../../../../src/mqtt/link/options.ts';
import { BrokerChoice, Reconnects } from '../../../../src/mqtt/link/reconnect.ts';
import { ManualClock } from '../../../fixtures/store.ts';

describe('BrokerChoice', () => {
  it('tries the addresses in turn, and the first one again after a stable connection', () => {
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

  it('continues with the next address when a broker accepts the device and loses it soon', () => {
    const choice = new BrokerChoice(['a', 'b'], 5);
    const tried = [1, 2, 3].map(() => {
      const { url } = choice.current();
      choice.succeeded();
      choice.lost(false, 'unreachable');
      return url;
    });
    expect(tried).toEqual(['a', 'b', 'a']);
  });

  it('slows down only when every broker refuses the device or is busy', () => {
    const choice = new BrokerChoice(['a', 'b'], 5);
    expect(choice.failed('refused')).toBe('normal');
    expect(choice.failed('unreachable')).toBe('normal');
    expect([choice.failed('refused'), choice.failed('refused')]).toEqual(['normal', 'refused']);
    expect(choice.failed('busy')).toBe('busy');
    choice.succeeded();
    expect(choice.lost(false, 'unreachable')).toBe('normal');
    expect([choice.lost(true, 'moved'), choice.lost(true, 'refused')]).toEqual(['normal', 'busy']);
  });

  it('tries the newer version again when a link is lost more than one hour after the fallback', () => {
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

  it('falls back to 3.1.1 at once when the broker says so, and after two hang-ups', () => {
    const refusing = new BrokerChoice(['a'], 5);
    expect(refusing.failed('version')).toBe('immediate');
    expect(refusing.current().protocolVersion).toBe(4);
    expect(refusing.failed('version')).toBe('normal');
    const silent = new BrokerChoice(['a'], 5);
    const versions = Array.from({ length: 5 }, () => {
      const { protocolVersion } = silent.current();
      silent.failed('hung_up');
      return protocolVersion;
    });
    expect(versions).toEqual([5, 5, 4, 4, 5]);
  });

  it('never changes a configured version 3.1.1', () => {
    const choice = new BrokerChoice(['a'], 4);
    for (let n = 0; n < 6; n += 1) {
      expect(choice.failed('hung_up')).toBe('normal');
      expect(choice.current().protocolVersion).toBe(4);
    }
    expect(choice.failed('version')).toBe('normal');
  });
});

describe('Reconnects', () => {
  const make = (random: number, clock = new ManualClock()): Reconnects =>
    new Reconnects(DEFAULT_TUNING, { clock, random: () => random });

  it('delays from 1 s to 60 s with full jitter, and never less than half a second', () => {
    const longest = make(1);
    expect(Array.from({ length: 8 }, () => longest.nextDelayMs('normal') / 1000)).toEqual([
      1, 2, 4, 8, 16, 32, 60, 60,
    ]);
    const shortest = make(0);
    for (let n = 0; n < 8; n += 1) expect(shortest.nextDelayMs('normal')).toBe(500);
  });

  it('restarts the series after a link of 60 s, and not before', () => {
    const clock = new ManualClock();
    const reconnects = make(1, clock);
    for (let n = 0; n < 5; n += 1) reconnects.nextDelayMs('normal');
    reconnects.connected();
    clock.advance(59_000);
    expect(reconnects.nextDelayMs('normal')).toBe(32_000);
    reconnects.connected();
    clock.advance(60_000);
    expect(reconnects.nextDelayMs('normal')).toBe(1000);
  });

  it.each([
    ['refused', 60, 600],
    ['busy', 10, 300],
    ['conflict', 30, 600],
  ] as const)('%s has its own series, from %d s to %d s', (pace, firstS, lastS) => {
    const reconnects = make(1);
    reconnects.nextDelayMs('normal');
    const series = Array.from({ length: 8 }, () => reconnects.nextDelayMs(pace) / 1000);
    expect([series[0], series.at(-1)]).toEqual([firstS, lastS]);
    expect(reconnects.nextDelayMs('normal')).toBe(2000);
  });

  it('does not delay an immediate retry, and only briefly a renewal', () => {
    const reconnects = make(0.25);
    expect(reconnects.nextDelayMs('immediate')).toBe(0);
    expect(reconnects.renewalDelayMs()).toBe(250);
  });

  it('counts the reconnects of the last hour', () => {
    const clock = new ManualClock();
    const reconnects = make(1, clock);
    reconnects.connected();
    expect([reconnects.connections, reconnects.countOfLastHour]).toEqual([1, 0]);
    reconnects.connected();
    clock.advance(1_800_000);
    reconnects.connected();
    expect([reconnects.connections, reconnects.countOfLastHour]).toEqual([3, 2]);
    clock.advance(1_800_000);
    expect([reconnects.connections, reconnects.countOfLastHour]).toEqual([3, 1]);
  });
});
