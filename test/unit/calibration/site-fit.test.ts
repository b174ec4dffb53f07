import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { SiteCalibration } from '../../../src/calibration/site-calibration.ts';
import { fitSite, restoreSite, storeSite, type SiteFit } from '../../../src/calibration/site-fit.ts';
import { runNow, type Steps } from '../../../src/calibration/steps.ts';
import type { LabelledBurst } from '../../../src/calibration/types.ts';
import { drawnView, randomFrom, syntheticSite } from '../../fixtures/labelled.ts';
import { plainRidge } from '../../fixtures/plain-ridge.ts';

const OPTIONS = { camera: 'north', embeddingDigest: 'd', sessionHours: 6 };
const fit = (bursts: readonly LabelledBurst[], former?: SiteFit): SiteFit =>
  runNow(fitSite(bursts, OPTIONS, former));
const restore = (text: string, bursts: readonly LabelledBurst[], options = OPTIONS) =>
  runNow(restoreSite(text, bursts, options));
const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2;
};

const VIEWS = Array.from({ length: 9 }, (_, seed) => drawnView({ seed, light: 0.7 + 0.05 * seed }));
const MOVED_VIEWS = Array.from({ length: 9 }, (_, seed) => drawnView({ seed, shiftX01: 0.12 }));

/** Labels in groups of one to three, with views of one place, and from `movedFrom` of another. */
function labelled(count: number, movedFrom = count, dimension = 24): LabelledBurst[] {
  const { uniform } = randomFrom(count);
  let group = 0;
  return syntheticSite({ seed: count, bursts: count, dimension }).map((one, i) => {
    if (uniform() < 0.5) group += 1;
    const view = (i < movedFrom ? VIEWS : MOVED_VIEWS)[i % VIEWS.length] ?? null;
    return { ...one, label: { ...one.label, group: `visit ${group}` }, view };
  });
}

/** Runs the steps and counts them: a step is a bounded amount of work. */
function countSteps<T>(steps: Steps<T>): { readonly result: T; readonly count: number } {
  for (let count = 1; ; count += 1) {
    const step = steps.next();
    if (step.done) return { result: step.value, count };
  }
}

/** Without the buffers and tables that all references have. */
const withoutBuffers = (site: SiteFit) => ({
  ...site,
  groups: site.groups.map(({ reference, ...group }) => ({
    ...group,
    reference: reference && { ...reference, scratch: null, fourier: null },
  })),
});

describe('fitSite', () => {
  it('equals a plain implementation of leave-one-group-out with ridge regression and median', () => {
    const bursts = labelled(30).map((one) => ({ ...one, view: null }));
    const [view] = fit(bursts).groups;
    const groups = Map.groupBy(bursts, ({ label }) => label.group);
    let ridgeMaeM = 0;
    let medianMaeM = 0;
    for (const [group, members] of groups) {
      const rest = bursts.filter(({ label }) => label.group !== group);
      const heightsM = rest.map(({ label }) => label.heightM);
      for (const { label, embedding } of members) {
        const predictedM = plainRidge(
          rest.map((one) => one.embedding),
          heightsM,
          embedding,
        );
        ridgeMaeM += Math.abs(predictedM - label.heightM) / members.length / groups.size;
        medianMaeM += Math.abs(median(heightsM) - label.heightM) / members.length / groups.size;
      }
    }
    expect(view?.calibration.validation?.groups).toBe(groups.size);
    expect(view?.calibration.validation?.ridgeMaeM).toBeCloseTo(ridgeMaeM, 10);
    expect(view?.calibration.validation?.medianMaeM).toBeCloseTo(medianMaeM, 10);
  });

  it('returns the former fit for the same labels, and another one after any change', () => {
    const bursts = labelled(10);
    const former = fit(bursts);
    expect(fit(bursts, former)).toBe(former);
    const [first, ...rest] = bursts;
    const changes: LabelledBurst[] = [
      { ...first!, label: { ...first!.label, heightM: 9 } },
      { ...first!, label: { ...first!.label, group: 'other' } },
      { ...first!, embedding: first!.embedding.map((value, k) => (k === 5 ? value + 1e-3 : value)) },
      { ...first!, view: drawnView({ seed: 99 }) },
      { ...first!, capturedAtMs: 5 },
    ];
    const digests = changes.map((changed) => fit([changed, ...rest], former).digest);
    expect(new Set([former.digest, fit(rest).digest, ...digests]).size).toBe(7);
  });

  it('finds the same views with a former fit as without one, with a fraction of the checks', () => {
    // Label after label: a move after 32 labels, and the former view again at the end.
    const bursts = [...labelled(40, 32), ...labelled(43).slice(40)];
    let former = fit(bursts.slice(0, 30));
    let steps = 0;
    for (let n = 31; n <= bursts.length; n += 1) {
      const update = countSteps(fitSite(bursts.slice(0, n), OPTIONS, former));
      former = update.result;
      steps = update.count;
    }
    const whole = countSteps(fitSite(bursts, OPTIONS));
    const membersOf = ({ groups }: SiteFit) =>
      groups.map((group) => group.bursts.map(({ label }) => label.observationId));
    expect(membersOf(former)).toHaveLength(2);
    expect(membersOf(former)).toEqual(membersOf(whole.result));
    const { reference, calibration } = former.groups[0]!;
    // The label of one view changes nothing in the other one.
    const last = bursts.at(-1)!;
    const corrected = { ...last, label: { ...last.label, heightM: 3 } };
    const refitted = fit([...bursts.slice(0, -1), corrected], former);
    expect(refitted.groups[0]?.calibration).not.toEqual(calibration);
    expect(refitted.groups[1]?.calibration).toBe(former.groups[1]?.calibration);
    expect(reference?.spectrum).toEqual(whole.result.groups[0]!.reference?.spectrum);
    expect(calibration).toEqual(whole.result.groups[0]!.calibration);
    expect(steps).toBeLessThan(whole.count);
  });

  it('checks a bounded number of views for a further label', () => {
    const bursts = labelled(100, 100, 4);
    const former = fit(bursts.slice(0, -1));
    const whole = countSteps(fitSite(bursts, OPTIONS)).count;
    const update = countSteps(fitSite(bursts, OPTIONS, former)).count;
    expect(whole - update).toBeGreaterThan(80);
  });
});

describe('a stored fit', () => {
  const bursts = labelled(40, 30);
  const whole = fit(bursts);
  const text = storeSite(whole);

  it('gives the same fit again, bit for bit', () => {
    const restored = restore(text, bursts);
    expect(restored?.isCurrent).toBe(true);
    expect(withoutBuffers(restored!.fit)).toEqual(withoutBuffers(whole));
  });

  it('is used without the labels that came later, until they are fitted', () => {
    const more = labelled(43, 30);
    const restored = restore(storeSite(fit(more.slice(0, 40))), more);
    expect(restored?.isCurrent).toBe(false);
    expect(restored?.fit.selection.bursts).toEqual(more.slice(0, 40));
    const [inner, outer] = [runNow(fitSite(more, OPTIONS, restored!.fit)), fit(more)];
    expect(inner.digest).toBe(outer.digest);
    expect(inner.groups.map(({ calibration }) => calibration)).toEqual(
      outer.groups.map(({ calibration }) => calibration),
    );
  });

  it('is not used after a change or a removal of one of its labels, for another model or other sessions', () => {
    const [first, ...rest] = bursts;
    expect(restore(text, rest)).toBeNull();
    expect(restore(text, [{ ...first!, label: { ...first!.label, heightM: 9 } }, ...rest])).toBeNull();
    expect(restore(text, bursts, { ...OPTIONS, embeddingDigest: 'another' })).toBeNull();
    expect(restore(text, bursts, { ...OPTIONS, sessionHours: 5 })).toBeNull();
  });

  it('is small, because it contains one number for each label and each equation', () => {
    const numbers = whole.groups.map(
      ({ calibration }) => calibration.labels * (1 + (calibration.validation?.foldFits.length ?? 0)),
    );
    expect(text.length).toBeLessThan(1000 + 40 * bursts.length + numbers.reduce((sum, n) => sum + 12 * n, 0));
  });

  it('is ignored if it is damaged, whatever it contains', async () => {
    const restoreInto = async (damaged: string) => {
      const calibration = new SiteCalibration(OPTIONS);
      return [await calibration.restore(damaged, bursts), calibration.digest];
    };
    const body = (json: string): string => createHash('sha256').update(json).digest('hex') + json;
    const flipped = `${text.slice(0, 3000)}${text[3000] === 'A' ? 'B' : 'A'}${text.slice(3001)}`;
    const shorter = JSON.stringify({ ...JSON.parse(text.slice(64)), views: [{}] });
    for (const damaged of [flipped, text.slice(0, -1), '', 'x', body('{}'), body('null'), body(shorter)])
      expect(await restoreInto(damaged)).toEqual([false, null]);
    expect(await restoreInto(text)).toEqual([true, whole.digest]);
  });
});
