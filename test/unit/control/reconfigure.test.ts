import { describe, expect, it } from 'vitest';
import type { Change } from '../../../src/config/change.ts';
import { loadSettings } from '../../../src/config/load.ts';
import type { Settings } from '../../../src/config/schema.ts';
import type { AgentState } from '../../../src/control/agent-types.ts';
import { createReconfigure, type ReconfigurableParts } from '../../../src/control/reconfigure.ts';
import { silentLog } from '../../fixtures/store.ts';

const BEFORE = loadSettings({ file: null, env: {}, cwd: '/' });

function parts(failure?: Error) {
  const calls: string[] = [];
  const state: AgentState = { phase: 'online', settings: BEFORE, hardware: null, pageUrl: null };
  const levels = {
    set level(level: string) {
      calls.push(`level ${level}`);
    },
  };
  const reconfigure = createReconfigure({
    log: silentLog,
    levels,
    state,
    cameras: {
      update: (cameras: Settings['cameras']) => {
        calls.push(`cameras ${cameras.length}`);
        return failure ? Promise.reject(failure) : Promise.resolve();
      },
    },
    heartbeat: {
      setInterval: (intervalS: number) => calls.push(`heartbeat ${intervalS}`),
      nudge: () => calls.push('nudge'),
    },
    store: { setBounds: () => calls.push('store') },
    link: {
      replace: () => {
        calls.push('link');
        return Promise.resolve();
      },
    },
    states: { publish: () => calls.push('publish') },
  } as unknown as ReconfigurableParts);
  return { reconfigure, calls, state };
}

const change = (to: Settings, keys: string[], link: string[] = []): Change =>
  ({ from: BEFORE, to, keys, link }) as unknown as Change;

describe('createReconfigure', () => {
  it('changes only the part that a key concerns, then publishes the states and a heartbeat', async () => {
    const { reconfigure, calls, state } = parts();
    const to = { ...BEFORE, heartbeat: { ...BEFORE.heartbeat, intervalS: 5 } };
    await reconfigure.apply(change(to, ['heartbeat.intervalS']));
    expect(calls).toEqual(['heartbeat 5', 'publish', 'nudge']);
    expect(state.settings).toBe(to);
  });

  it('applies every kind of change, the connection last', async () => {
    const { reconfigure, calls } = parts();
    const keys = ['logLevel', 'heartbeat.intervalS', 'store.maxMb', 'cameras.sim', 'mqtt.url'];
    await reconfigure.apply(change({ ...BEFORE, logLevel: 'debug', cameras: [] }, keys, ['mqtt.url']));
    expect(calls).toEqual([
      'level debug',
      `heartbeat ${BEFORE.heartbeat.intervalS}`,
      'store',
      'cameras 0',
      'link',
      'publish',
      'nudge',
    ]);
  });

  it('keeps the former settings in force when a part refuses the change', async () => {
    const { reconfigure, calls, state } = parts(new Error('refused'));
    await expect(reconfigure.apply(change({ ...BEFORE, cameras: [] }, ['cameras.sim']))).rejects.toThrow(
      'refused',
    );
    expect(state.settings).toBe(BEFORE);
    expect(calls).not.toContain('publish');
  });

  it('applies one change after the other, also after one that failed', async () => {
    const failed = parts(new Error('refused'));
    const first = change({ ...BEFORE, cameras: [] }, ['cameras.sim']);
    const settled = Promise.allSettled([failed.reconfigure.apply(first), failed.reconfigure.apply(first)]);
    await Promise.resolve();
    expect(failed.calls).toEqual(['cameras 0']);
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected']);

    const { reconfigure, calls, state } = parts();
    const second = change({ ...BEFORE, logLevel: 'debug' }, ['logLevel']);
    await Promise.all([reconfigure.apply(first), reconfigure.apply(second)]);
    expect(calls).toEqual(['cameras 0', 'publish', 'nudge', 'level debug', 'publish', 'nudge']);
    expect(state.settings).toBe(second.to);
  });
});
