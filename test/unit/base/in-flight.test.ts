import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InFlight } from '../../../src/base/in-flight.ts';

describe('InFlight', () => {
  it('contains each added item until it is deleted, like a Set', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(12))), (steps) => {
        const items = Array.from({ length: 13 }, (_, n) => ({ n, place: -1 }));
        const inFlight = new InFlight<(typeof items)[number]>();
        const model = new Set<(typeof items)[number]>();
        for (const [add, n] of steps) {
          const item = items[n]!;
          if (!add) expect(inFlight.delete(item)).toBe(model.delete(item));
          else if (!model.has(item)) {
            model.add(item);
            inFlight.add(item);
          }
          expect(inFlight.size).toBe(model.size);
        }
        expect(new Set(inFlight.all())).toEqual(model);
      }),
    );
  });

  it('does not confuse a deleted item with one that has its old place', () => {
    const inFlight = new InFlight<{ place: number }>();
    const first = { place: -1 };
    const second = { place: -1 };
    inFlight.add(first);
    inFlight.delete(first);
    inFlight.add(second);
    expect(inFlight.delete(first)).toBe(false);
    expect(inFlight.all()).toEqual([second]);
  });
});
