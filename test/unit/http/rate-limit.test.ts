import { describe, expect, it } from 'vitest';
import { clientKey, RateLimit } from '../../../src/http/rate-limit.ts';

function makeLimit(perMinute: number, maxClients?: number) {
  const clock = { ms: 1000 };
  const limit = new RateLimit(
    { perMinute, ...(maxClients === undefined ? {} : { maxClients }) },
    { clock: { monoMs: () => clock.ms } },
  );
  const countAllowed = (client: string, times: number): number =>
    Array.from({ length: times }, () => limit.take(client)).filter((waitMs) => waitMs === 0).length;
  return { clock, limit, countAllowed };
}

describe('RateLimit', () => {
  it.each([1, 7, 60, 600, 999_983])('allows a burst of %i requests and not one more', (perMinute) => {
    const { countAllowed } = makeLimit(perMinute);
    expect(countAllowed('a', perMinute + 10)).toBe(perMinute);
    expect(countAllowed('b', 1)).toBe(1);
  });

  it('returns the time to wait, after which the next request is allowed', () => {
    const { clock, limit, countAllowed } = makeLimit(60);
    countAllowed('a', 60);
    const waitMs = limit.take('a');
    expect(waitMs).toBeGreaterThan(0);
    expect(waitMs).toBeLessThanOrEqual(1000);
    clock.ms += waitMs;
    expect(limit.take('a')).toBe(0);
    expect(limit.take('a')).toBeGreaterThan(0);
    clock.ms += 30_000;
    expect(countAllowed('a', 60)).toBe(30);
  });

  it('does not count refused requests', () => {
    const { clock, countAllowed } = makeLimit(10);
    countAllowed('a', 10_000);
    clock.ms += 60_000;
    expect(countAllowed('a', 20)).toBe(10);
  });

  it('keeps a bounded number of clients; further clients share one bucket', () => {
    const { clock, limit, countAllowed } = makeLimit(10, 100);
    for (let client = 0; client < 100; client++) expect(limit.take(`c${client}`)).toBe(0);
    let allowed = 0;
    for (let client = 0; client < 10_000; client++) if (limit.take(`d${client}`) === 0) allowed += 1;
    expect(allowed).toBe(10);
    expect(limit.clients).toBeLessThanOrEqual(101);
    expect(countAllowed('c0', 20)).toBe(9);
    clock.ms += 60_001;
    expect(countAllowed('new', 20)).toBe(10);
    expect(limit.clients).toBeLessThanOrEqual(101);
  });
});

describe('clientKey', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8:0:0:1::', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['', ''],
    [undefined, ''],
  ])('%s is %s', (address, client) => {
    expect(clientKey(address)).toBe(client);
  });
});
