import { describe, expect, it } from 'vitest';
import { SingleFlight } from '../../../src/base/single-flight.ts';

/** Work that ends when told; every run is noted. */
function steered() {
  const ends: { resolve: (value: number) => void; reject: (cause: Error) => void }[] = [];
  const shared = new SingleFlight(
    () => new Promise<number>((resolve, reject) => ends.push({ resolve, reject })),
  );
  return { ends, shared };
}
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('SingleFlight', () => {
  it('serves a hundred requests during a run with one more run', async () => {
    const { ends, shared } = steered();
    const first = shared.run();
    const others = Array.from({ length: 100 }, () => shared.run());
    expect(ends).toHaveLength(1);
    ends[0]?.resolve(1);
    expect(await first).toBe(1);
    await settled();
    expect(ends).toHaveLength(2);
    const late = shared.run();
    ends[1]?.resolve(2);
    expect(new Set(await Promise.all(others))).toEqual(new Set([2]));
    await settled();
    expect(ends).toHaveLength(3);
    ends[2]?.resolve(3);
    expect(await late).toBe(3);
  });

  it('starts again after a failure, which only the requests of that run see', async () => {
    const { ends, shared } = steered();
    const first = shared.run();
    const second = shared.run();
    ends[0]?.reject(new Error('no'));
    await expect(first).rejects.toThrow('no');
    await settled();
    ends[1]?.resolve(2);
    expect(await second).toBe(2);
    const third = shared.run();
    ends[2]?.resolve(3);
    expect(await third).toBe(3);
  });
});
