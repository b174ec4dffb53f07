import { describe, expect, it } from 'vitest';
import { isoTime } from '../../../src/base/clock.ts';
import type { Camera as CameraSettings } from '../../../src/config/schema.ts';
import type { SeaStateRecord } from '../../../src/contract/sea-state.ts';
import { NO_PERIOD, SeaStateReports } from '../../../src/observation/sea-state-reports.ts';
import type { SeaStateDraft } from '../../../src/store/types.ts';
import { cameraSettings } from '../../fixtures/capture.ts';
import { seaStateDraft, silentLog } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const MINUTE_MS = 60_000;
const TOPIC = 'camera/north/sea_state/latest';
const settings = (schedule: NonNullable<CameraSettings['seaState']>['schedule'] = { everyS: 1800 }) =>
  cameraSettings({
    ...{ id: 'north', kind: 'rtsp' },
    seaState: { schedule, fps: 2, durationS: 512, lines: null, region: null, keepTimestacks: false },
  });

describe('SeaStateReports', () => {
  const state = useStore({ bootId: 'boot-1' }, { inMemory: true });

  function start(bootId = 'boot-1', camera: CameraSettings = settings()) {
    const states = new Map<string, unknown>();
    const records: SeaStateRecord[] = [];
    const reports = new SeaStateReports({
      ...{ clock: state.clock, log: silentLog, store: state.store, bootId },
      link: { connected: true, setState: (topic, payload) => states.set(topic, payload) },
      onSeaState: (record) => records.push(record),
    });
    reports.open(camera);
    return { reports, states, records };
  }
  /** A clip of 512 s that ends now. */
  const clip = (over: Partial<SeaStateDraft> = {}): SeaStateDraft =>
    seaStateDraft({
      captured_at: isoTime(state.clock.nowMs() - 512_000),
      mono_ms: state.clock.monoMs() - 512_000,
      duration_s: 512,
      ...over,
    });

  it('stores, publishes and hands on a record', () => {
    const { reports, states, records } = start();
    state.clock.advance(10 * MINUTE_MS);
    const record = reports.add(clip());
    expect(records).toEqual([record]);
    expect(states.get(TOPIC)).toEqual({ ...record, published_at: isoTime(state.clock.nowMs()) });
    expect(reports.newest('north')).toEqual(record);
  });

  it('gives its period to observations until it is older than two intervals', () => {
    const { reports } = start();
    state.clock.advance(10 * MINUTE_MS);
    expect(reports.period('north')).toEqual(NO_PERIOD);
    reports.add(clip());
    const period = {
      period_s: 13.7,
      period_low_s: 12.6,
      period_high_s: 14.5,
      period_basis: 'video_spectrum',
    };
    expect(reports.period('north')).toEqual({ ...period, period_age_s: 0 });
    // A later clip without a period does not end it.
    state.clock.advance(30 * MINUTE_MS);
    reports.add(clip({ status: 'rejected', reasons: ['no_peak'] }));
    state.clock.advance(30 * MINUTE_MS);
    expect(reports.period('north')).toEqual({ ...period, period_age_s: 3600 });
    state.clock.advance(1);
    expect(reports.period('north')).toEqual(NO_PERIOD);
  });

  it('does not count a step of the wall clock, and counts the time without power', () => {
    const { reports } = start();
    state.clock.advance(10 * MINUTE_MS);
    reports.add(clip());
    state.clock.wallMs += 300 * MINUTE_MS;
    expect(reports.period('north').period_age_s).toBe(0);
    state.clock.wallMs -= 280 * MINUTE_MS;
    state.clock.mono = 5;
    const { reports: after, states } = start('boot-2');
    expect(states.get(TOPIC)).toMatchObject({ seq: 1 });
    expect(after.period('north').period_age_s).toBe(1200);
    // The wall clock says that the clip is in the future: nobody knows its age.
    state.clock.wallMs -= 300 * MINUTE_MS;
    expect(after.period('north')).toEqual(NO_PERIOD);
  });

  it.each([
    [{ everyS: 3600 }, 120],
    [{ cron: '0 */2 * * *', timezone: 'UTC' }, 240],
  ])('takes two intervals of the schedule %j', (schedule, maxMinutes) => {
    const { reports } = start('boot-1', settings(schedule));
    state.clock.advance(10 * MINUTE_MS);
    reports.add(clip());
    state.clock.advance(maxMinutes * MINUTE_MS);
    expect(reports.period('north').period_s).toBe(13.7);
    state.clock.advance(1);
    expect(reports.period('north')).toEqual(NO_PERIOD);
  });

  it('forgets the period when another camera takes the place of the former one', () => {
    const { reports } = start();
    state.clock.advance(10 * MINUTE_MS);
    reports.add(clip());
    state.clock.advance(MINUTE_MS);
    reports.open({ ...settings(), timeoutS: 3 });
    expect(reports.period('north').period_age_s).toBe(60);
    reports.open({ ...settings(), url: 'rtsp://other' }, true);
    expect(reports.period('north')).toEqual(NO_PERIOD);
    expect(reports.newest('north')).not.toBeNull();
    // A simulated period is never one of a real camera, also after a restart.
    reports.add(clip({ simulated: true }));
    const { reports: after } = start();
    expect(after.period('north')).toEqual(NO_PERIOD);
  });

  it('counts the age of a clip whose scene ran faster than the clock from its real end', () => {
    const { reports } = start();
    state.clock.advance(10 * MINUTE_MS);
    reports.add(clip({ mono_ms: state.clock.monoMs() - 64_000 }));
    state.clock.advance(5 * MINUTE_MS);
    expect(reports.period('north').period_age_s).toBe(300);
  });

  it('keeps the topic of a removed camera clear when its last clip ends later', () => {
    const { reports, states, records } = start();
    reports.close('north');
    reports.add(clip());
    expect(states.get(TOPIC)).toBeNull();
    expect(records).toHaveLength(1);
  });

  it('publishes the newest record again when its times were corrected, with its id', () => {
    const { reports, states } = start();
    state.store.timeCorrection.setSyncSource(() => false);
    state.clock.advance(10 * MINUTE_MS);
    const record = reports.add(clip({ clock: { synced: false, offset_ms: null } }));
    state.clock.wallMs += 300 * MINUTE_MS;
    state.store.timeCorrection.correctTimestamps({ bootId: 'boot-1', synced: true, stepped: true });
    reports.publishCorrected();
    expect(states.get(TOPIC)).toMatchObject({
      id: record.id,
      captured_at: isoTime(state.clock.nowMs() - 512_000),
      warnings: ['time_corrected'],
    });
  });
});
