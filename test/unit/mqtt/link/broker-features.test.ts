import { describe, expect, it } from 'vitest';
import { BrokerFeatures, type SessionLoss } from '../../../../src/mqtt/link/broker-features.ts';
import { BrokerChoice } from '../../../../src/mqtt/link/reconnect.ts';

const LOSS: SessionLoss = { stage: 'subscribe', isRemote: true, disconnect: null, hasAcknowledged: false };
const omittedBy = (features: BrokerFeatures): string[] => [...features.omitted];

describe('BrokerFeatures', () => {
  it.each([
    [154, ['retain']],
    [162, ['wildcards']],
    [155, []],
    [135, []],
  ])('omits what the reason %d names, once', (code, omitted) => {
    const features = new BrokerFeatures();
    expect(features.refused(code)).toBe(omitted.length > 0);
    expect(features.refused(code)).toBe(false);
    expect(omittedBy(features)).toEqual(omitted);
  });

  it('omits one thing after the other when each third connection ends during the subscriptions', () => {
    const features = new BrokerFeatures();
    const learned = Array.from({ length: 12 }, () => features.lost(LOSS));
    expect(learned.flatMap((isNew, index) => (isNew ? [index + 1] : []))).toEqual([3, 6, 9]);
    expect(omittedBy(features)).toEqual(['wildcards', 'status', 'commands']);
  });

  it('suspects nothing when the device closed the connection, or when the stage changes', () => {
    const features = new BrokerFeatures();
    for (let n = 0; n < 5; n += 1) {
      features.lost({ ...LOSS, isRemote: false });
      features.lost(LOSS);
      features.lost({ ...LOSS, stage: 'publish' });
      features.lost({ ...LOSS, stage: 'online' });
    }
    expect(omittedBy(features)).toEqual([]);
  });

  it('does not suspect retained messages of a broker that has acknowledged a message', () => {
    const features = new BrokerFeatures();
    features.lost({ ...LOSS, stage: 'publish', hasAcknowledged: true });
    for (let n = 0; n < 5; n += 1) features.lost({ ...LOSS, stage: 'publish' });
    expect(omittedBy(features)).toEqual([]);
    const closing = new BrokerFeatures();
    for (let n = 0; n < 3; n += 1) closing.lost({ ...LOSS, stage: 'publish' });
    expect(omittedBy(closing)).toEqual(['retain']);
  });

  it('tries each version alone, then without session, then without a retained will, and begins again', () => {
    const attempts = (only: 4 | null): string[] => {
      const features = new BrokerFeatures();
      return Array.from({ length: only === null ? 8 : 4 }, () =>
        [features.hungUp(only), ...features.omitted].join(' '),
      );
    };
    expect(attempts(null)).toEqual([
      ...['5', '4', '4', '5 session', '4 session', '5 session retain', '4 session retain', '5'],
    ]);
    expect(attempts(4)).toEqual(['4', '4 session', '4 session retain', '4']);
  });
});

describe('BrokerChoice', () => {
  it('learns from losses on a machine that runs for days', () => {
    const choice = new BrokerChoice(['a'], 5, () => 1e9);
    expect([1, 2, 3].map(() => choice.learn(LOSS))).toEqual([null, null, 'immediate']);
  });

  it('reconnects at once without a feature, and tries it again after the loss of a link one hour later', () => {
    let nowMs = 0;
    const choice = new BrokerChoice(['a', 'b'], 5, () => nowMs);
    expect(choice.failed('refused', 154)).toBe('immediate');
    expect(choice.current()).toMatchObject({ url: 'a', omitted: new Set(['retain']) });
    expect(choice.failed('refused', 154)).toBe('normal');
    expect(choice.current()).toMatchObject({ url: 'b', omitted: new Set() });
    choice.failed('unreachable');
    nowMs = 3_700_000;
    expect(choice.learn({ ...LOSS, stage: 'online' })).toBeNull();
    expect(choice.current().omitted).toEqual(new Set());
    expect(choice.learn({ ...LOSS, disconnect: { code: 162 } })).toBe('immediate');
    expect(choice.current().omitted).toEqual(new Set(['wildcards']));
  });
});
