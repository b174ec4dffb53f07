import { describe, expect, it } from 'vitest';
import { UploadBudget } from '../../../src/analysis/upload-budget.ts';
import { PoisonImages } from '../../../src/analysis/poison-images.ts';
import { AdmissionQueue } from '../../../src/analysis/admission-queue.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { AgentError } from '../../../src/base/errors.ts';

const never = new AbortController().signal;
const tick = () => new Promise((resolve) => setImmediate(resolve));

/** Work that ends when the test says so. */
function works() {
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const work = (name: string) => () => {
    begun.push(name);
    return new Promise<string>((resolve) => ends.set(name, () => resolve(name)));
  };
  return { begun, work, end: (name: string) => ends.get(name)?.() };
}

describe('turns', () => {
  it('lets so many in at once, and the others in the order they came', async () => {
    const turns = new AdmissionQueue({ atOnce: 2, mostWaiting: 8 }, { clock: systemClock });
    const { begun, work, end } = works();
    const all = ['a', 'b', 'c', 'd'].map((name) => turns.take(work(name), never));
    await tick();
    expect([begun, turns.waiting]).toEqual([['a', 'b'], 2]);
    end('b');
    await tick();
    expect(begun).toEqual(['a', 'b', 'c']);
    for (const name of ['a', 'c', 'd']) {
      end(name);
      await tick();
    }
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('refuses beyond its bound, with the time to come again, and displaces nobody', async () => {
    let nowMs = 0;
    const clock = { ...systemClock, monoMs: () => nowMs };
    const turns = new AdmissionQueue({ atOnce: 1, mostWaiting: 2 }, { clock });
    const { begun, work, end } = works();
    const slow = turns.take(work('slow'), never);
    await tick();
    nowMs = 30_000;
    end('slow');
    await slow;
    const first = turns.take(work('a'), never);
    const others = ['b', 'c'].map((name) => turns.take(work(name), never));
    const refused: unknown = await turns.take(work('d'), never).catch((thrown: unknown) => thrown);
    // 30 s weigh a fifth: 0.5 s + 0.2 * 29.5 s = 6.4 s for each of the three that are ahead.
    expect(refused).toMatchObject({ code: 'vision_busy', context: { retryAfterS: 20 } });
    for (const name of ['a', 'b', 'c']) {
      end(name);
      await tick();
    }
    await Promise.all([first, ...others]);
    expect(begun).toEqual(['slow', 'a', 'b', 'c']);
  });

  it('takes out who goes away, and the turn of one that failed goes to the next', async () => {
    const turns = new AdmissionQueue({ atOnce: 1, mostWaiting: 8 }, { clock: systemClock });
    const { begun, work, end } = works();
    const failing = turns.take(() => tick().then(() => Promise.reject(new Error('no'))), never);
    const leaving = new AbortController();
    const gone = turns.take(work('gone'), leaving.signal);
    const last = turns.take(work('last'), never);
    leaving.abort(new Error('gone'));
    await expect(gone).rejects.toThrow('gone');
    await expect(failing).rejects.toThrow('no');
    await tick();
    expect([begun, turns.waiting]).toEqual([['last'], 0]);
    end('last');
    expect(await last).toBe('last');
  });
});

describe('rooms', () => {
  it('are given until the budget is used up, by bytes and by number', () => {
    const rooms = new UploadBudget({ budgetBytes: 100, most: 3 });
    const first = rooms.take(60);
    expect(rooms.take(50)).toBeNull();
    const second = rooms.take(40);
    expect([rooms.takenBytes, rooms.taken]).toEqual([100, 2]);
    first?.release();
    first?.release();
    expect([rooms.takenBytes, rooms.taken]).toEqual([40, 1]);
    expect([rooms.take(1), rooms.take(1)]).not.toContain(null);
    expect(rooms.take(1)).toBeNull();
    second?.release();
    expect(rooms.take(1)).not.toBeNull();
  });

  it('there is always one for a single image, however large', () => {
    expect(new UploadBudget({ budgetBytes: 10, most: 3 }).take(1000)).not.toBeNull();
  });
});

describe('strikes', () => {
  const crashed = new AgentError('vision_crashed', 'gone');

  it('an image that cost the process its life twice is refused, for a while', () => {
    let nowMs = 0;
    const strikes = new PoisonImages({ clock: { ...systemClock, monoMs: () => nowMs } });
    strikes.note('bad', new AgentError('image_corrupt', 'no matter'));
    strikes.note('bad', crashed);
    expect(() => strikes.check('bad')).not.toThrow();
    strikes.note('bad', new AgentError('vision_timeout', 'late'));
    expect(() => strikes.check('bad')).toThrow(expect.objectContaining({ code: 'image_corrupt' }) as Error);
    expect(() => strikes.check('good')).not.toThrow();
    nowMs = 600_001;
    expect(() => strikes.check('bad')).not.toThrow();
  });

  it('keeps a bounded number of them, the newest', () => {
    const strikes = new PoisonImages({ clock: systemClock });
    for (let i = 0; i < 1000; i += 1) {
      strikes.note(String(i), crashed);
      strikes.note(String(i), crashed);
    }
    expect(() => strikes.check('0')).not.toThrow();
    expect(() => strikes.check('999')).toThrow();
  });
});
