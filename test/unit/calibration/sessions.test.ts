import { describe, expect, it } from 'vitest';
import { assignSessions } from '../../../src/calibration/sessions.ts';
import { SiteCalibration } from '../../../src/calibration/site-calibration.ts';
import type { LabelledBurst } from '../../../src/calibration/types.ts';
import { burst, randomFrom } from '../../fixtures/labelled.ts';

const HOUR_MS = 3_600_000;
const NOON = Date.UTC(2026, 5, 1, 12);
const { normal } = randomFrom(1);

/** A label without a group of its own: an image of this hour after noon, read `readAfterH` later. */
const at = (id: string, hour: number, readAfterH = 0.1, heightM = 1.2): LabelledBurst =>
  burst(
    id,
    heightM,
    Array.from({ length: 8 }, () => normal() + heightM),
    {
      group: id,
      capturedAtMs: NOON + hour * HOUR_MS,
      createdAtMs: NOON + (hour + readAfterH) * HOUR_MS,
    },
  );
const sessions = (bursts: readonly LabelledBurst[], hours = 6): Record<string, string> =>
  Object.fromEntries(assignSessions(bursts, hours));
const count = (bursts: readonly LabelledBurst[], hours = 6): number =>
  new Set(Object.values(sessions(bursts, hours))).size;

describe('assignSessions', () => {
  it('joins labels less than six hours apart, and a configured number of hours', () => {
    const two = [at('a', 0), at('b', 5.99)];
    expect([count(two), count([at('a', 0), at('b', 6)])]).toEqual([1, 2]);
    expect([count(two, 5), count(two, 0)]).toEqual([2, 2]);
  });

  it('joins two sessions by a label between them, in any order, and separates them without it', () => {
    const outer = [at('a', 0), at('b', 8)];
    const late = at('c', 4, 100);
    expect([count(outer), count([...outer, late]), count([late, ...outer.toReversed()])]).toEqual([2, 1, 1]);
  });

  it('uses the time of the image, not of the reading: a week that is labelled in one evening has seven sessions', () => {
    const week = Array.from({ length: 7 }, (_, day) => at(`d${day}`, 24 * day, 24 * (7 - day)));
    expect(count(week)).toBe(7);
  });

  it('uses the time of the reading if the clock was wrong at the capture', () => {
    const unset = { ...at('a', 0), capturedAtMs: 60_000 };
    const ahead = { ...at('b', 0.1), capturedAtMs: NOON + 1000 * HOUR_MS };
    expect(count([unset, ahead, at('c', 0.2), { ...at('d', 0.3), capturedAtMs: null }])).toBe(1);
  });

  it('keeps the groups of files and of the simulation, whatever their times are', () => {
    const clips = ['p', 'q', 'q'].map((group, i) =>
      burst(`file ${i}`, 1, [i], { group: `clip ${group}`, createdAtMs: i }),
    );
    expect(sessions(clips)).toEqual({ 'file 0': 'clip p', 'file 1': 'clip q', 'file 2': 'clip q' });
    const sameVisit = burst('x', 1, [1], { group: 'a', createdAtMs: NOON });
    expect(count([at('a', 0), sameVisit, ...clips])).toBe(3);
  });
});

describe('a calibration from one visit', () => {
  const fitted = (bursts: readonly LabelledBurst[]): SiteCalibration => {
    const calibration = new SiteCalibration({ camera: 'north', embeddingDigest: 'd', sessionHours: 6 });
    calibration.fitNow(bursts);
    return calibration;
  };
  const visit = (day: number, labels: number): LabelledBurst[] =>
    Array.from({ length: labels }, (_, i) => at(`${day}.${i}`, 24 * day + i / 240, 0.1, 1.1 + 0.02 * i));
  const probe = Float32Array.from({ length: 8 }, () => 1.2);
  const widthOf = (bursts: readonly LabelledBurst[]): number => {
    const { lowM, highM } = fitted(bursts).estimate(probe, null);
    return (highM ?? 0) - (lowM ?? 0);
  };

  it('has a wide interval with eight labels within two minutes, as with one label', () => {
    const eight = visit(0, 8);
    const estimate = fitted(eight).estimate(probe, null);
    expect(estimate).toMatchObject({
      basis: 'site_median',
      summary: { labels: 8, sessions: 1, labels_wanted: 7, loo_mae_m: null },
    });
    expect(widthOf(eight)).toBeGreaterThan(0.9 * widthOf(eight.slice(3, 5)));
  });

  it('does not become narrower with further labels of one visit', () => {
    const sevenVisits = Array.from({ length: 7 }, (_, day) => visit(day, 1)).flat();
    const many = [...sevenVisits, ...visit(6, 30).slice(1)];
    expect(fitted(many).summary()).toMatchObject({ labels: 36, sessions: 7, labels_wanted: 1 });
    expect(fitted(many).estimate(probe, null).basis).toBe('site_median');
    expect(widthOf(many)).toBeGreaterThan(0.9 * widthOf(sevenVisits));
  });
});
