import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { reportLastStop } from '../../../src/health/last-stop.ts';
import type { LastStop } from '../../../src/contract/diagnostics.ts';
import { tempDir } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const SCRIPT = join(import.meta.dirname, '../../../systemd/record-stop');
const FIRST = 'e1f5a9c1c0f84a7c8d8a4c1f4b3d2e10';
const SECOND = 'e1f5a9c1c0f84a7c8d8a4c1f4b3d2e11';

let dir: ReturnType<typeof tempDir>;
beforeEach(() => {
  dir = tempDir();
});
afterEach(() => dir.remove());

/** Runs the ExecStopPost script with the environment that systemd gives it. */
const recordStop = (id: string, result: string, code: string, status: string): void =>
  void execFileSync(SCRIPT, {
    env: {
      ...{ PATH: '/usr/bin:/bin', STATE_DIRECTORY: dir.path, INVOCATION_ID: id },
      ...{ SERVICE_RESULT: result, EXIT_CODE: code, EXIT_STATUS: status },
    },
  });

describe('reportLastStop', () => {
  const state = useStore();
  const report = (): LastStop | null =>
    reportLastStop({ dir: dir.path }, { memory: state.store.keyValue, raise: state.store.raise });
  const events = () =>
    state.store.events.recent(10).map(({ type, code, context }) => ({ type, code, context }));

  it('raises one event for an end that was no clean stop, whatever number of starts follows', () => {
    recordStop(FIRST, 'watchdog', 'killed', 'ABRT');
    const stop = { service_result: 'watchdog', exit_code: 'killed', exit_status: 'ABRT' };
    expect(report()).toMatchObject(stop);
    expect(report()).toMatchObject(stop);
    expect(events()).toEqual([
      { type: 'service_stopped', code: 'watchdog', context: expect.objectContaining(stop) },
    ]);

    recordStop(SECOND, 'oom-kill', 'killed', 'KILL');
    report();
    expect(events().map(({ code }) => code)).toEqual(['oom-kill', 'watchdog']);
  });

  it('raises no event for a clean stop', () => {
    recordStop(FIRST, 'success', 'exited', '0');
    const stop = report();
    expect(stop).toMatchObject({ service_result: 'success', exit_code: 'exited', exit_status: '0' });
    expect(Math.abs(Date.parse(stop?.at ?? '') - Date.now())).toBeLessThan(60_000);
    expect(events()).toEqual([]);
  });

  it('is null without a valid file', () => {
    expect(report()).toBeNull();
    const path = join(dir.path, 'last-stop.json');
    for (const text of ['', '{', '[]', '{"format":2}', `{"format":1,"id":"${'a'.repeat(5000)}"}`]) {
      writeFileSync(path, text);
      expect(report()).toBeNull();
    }
    expect(events()).toEqual([]);
  });

  it('replaces the file as a whole', () => {
    recordStop(FIRST, 'exit-code', 'exited', '1');
    recordStop(SECOND, 'success', 'exited', '0');
    expect(JSON.parse(readFileSync(join(dir.path, 'last-stop.json'), 'utf8'))).toMatchObject({ id: SECOND });
    expect(existsSync(join(dir.path, '.last-stop.json.part'))).toBe(false);
  });
});
