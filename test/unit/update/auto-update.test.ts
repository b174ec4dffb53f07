import { describe, expect, it, onTestFinished } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { AutoUpdate } from '../../../src/update/auto-update.ts';
import { silentLog } from '../../fixtures/store.ts';
import { NEW, UpdateBench, updaterState } from '../../fixtures/updates.ts';

const HOUR_MS = 3_600_000;
const NEWEST = {
  name: 'swellsight-edge',
  version: NEW.version,
  digest: `sha256:${NEW.digest}`,
  trusted: true,
};

/** A device whose local time is 00:30. */
function setUp(window = { from: '02:00', to: '05:00' }) {
  const bench = new UpdateBench();
  const midnight = new Date(bench.clock.nowMs()).setHours(24, 0, 0, 0);
  bench.clock.step(midnight - bench.clock.nowMs() + HOUR_MS / 2);
  bench.settings = { ...bench.settings, auto: true, window };
  bench.fetcher.newestRelease = NEWEST;
  const updates = bench.start();
  const { clock, fetcher } = bench;
  const auto = new AutoUpdate({
    ...{ clock, fetcher, updates, log: silentLog, random: () => 0.5 },
    settings: () => bench.settings,
    syncedNowMs: () => clock.nowMs(),
  });
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  auto.run(stop.signal).catch(() => undefined);
  return { bench, updates };
}

describe('AutoUpdate', () => {
  it('installs a newer version some time after the window opens', async () => {
    const { bench, updates } = setUp();
    await bench.pass(1.5 * HOUR_MS);
    expect(updates.state()).toMatchObject({ update: null, auto: { enabled: true, checked_at: null } });
    await bench.pass(HOUR_MS * 0.3);
    expect(updates.state()).toMatchObject({
      auto: { newest: NEW.version, error: null },
      update: { automatic: true, version: NEW.version, phase: 'installing' },
    });
  });

  it.each([
    ['the version runs already', { ...NEWEST, version: '1.0.0' }],
    ['the repository has none for this device', null],
  ])('installs nothing when %s', async (_why, newest) => {
    const { bench, updates } = setUp();
    bench.fetcher.newestRelease = newest;
    await bench.pass(3 * HOUR_MS);
    expect(updates.state()).toMatchObject({ update: null, auto: { newest: newest?.version ?? null } });
  });

  it('does not try a banned version, nor one that failed some hours ago', async () => {
    const banned = setUp();
    const at = '2026-06-01T00:00:00.000Z';
    banned.bench.writeState(updaterState({ banned: [{ ...NEW, reason: 'update_crash_loop', at }] }));
    await banned.bench.pass(4 * HOUR_MS);
    expect(banned.updates.state().update).toBeNull();

    const { bench, updates } = setUp({ from: '00:00', to: '00:00' });
    const download = bench.fetcher.download;
    bench.fetcher.download = () => Promise.reject(new AgentError('model_space', 'the disk is full'));
    await bench.pass(HOUR_MS);
    expect(updates.state().update).toMatchObject({ phase: 'failed', reason: { code: 'model_space' } });
    bench.fetcher.download = download;
    await bench.pass(12 * HOUR_MS);
    expect(updates.state().update).toMatchObject({ phase: 'failed' });
    await bench.pass(24 * HOUR_MS);
    expect(updates.state().update).toMatchObject({ phase: 'failed', reason: { code: 'update_no_answer' } });
  });

  it('reports a failed check, and does nothing without update.auto', async () => {
    const { bench, updates } = setUp();
    bench.fetcher.failure = new AgentError('model_trust_expired', 'the timestamp has expired');
    await bench.pass(3 * HOUR_MS);
    expect(updates.state()).toMatchObject({ update: null, auto: { error: { code: 'model_trust_expired' } } });
    const off = setUp();
    off.bench.settings = { ...off.bench.settings, auto: false };
    await off.bench.pass(6 * HOUR_MS);
    expect(off.updates.state()).toMatchObject({ update: null, auto: { enabled: false, checked_at: null } });
  });

  it('waits for the next window when the download took too long, unless it is switched off', async () => {
    const { bench, updates } = setUp();
    const slowUntil = bench.clock.monoMs() + 6 * HOUR_MS;
    bench.fetcher.download = async () => bench.clock.sleep(slowUntil - bench.clock.monoMs());
    await bench.pass(8 * HOUR_MS);
    expect(updates.state().update).toMatchObject({ phase: 'waiting', in_progress: true });
    bench.settings = { ...bench.settings, auto: false };
    await bench.pass(60_000);
    expect(updates.state().update).toMatchObject({
      phase: 'failed',
      reason: { code: 'command_interrupted' },
    });
  });
});
