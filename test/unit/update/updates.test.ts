import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import type { UpdateRequest } from '../../../src/contract/update-files.ts';
import { UpdateFiles } from '../../../src/update/update-files.ts';
import { settle } from '../../fixtures/commands.ts';
import {
  digestOf,
  NEW,
  NEW_RUNNING,
  OLD,
  trialOf,
  UpdateBench,
  updaterState,
} from '../../fixtures/updates.ts';

const REPOSITORY = { kind: 'repository' } as const;
const WANTED = { version: NEW.version, source: REPOSITORY };
const ID = '0195f3a0-0000-8000-8000-000000000002';
const IDS = { updateId: ID, commandId: 'command-1' };

const read = (bench: UpdateBench, name: string): unknown => {
  const path = join(bench.files.dir, name);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as unknown) : null;
};
/** Lets the update reach the updater. */
async function handOver(bench: UpdateBench): Promise<UpdateRequest> {
  for (let turn = 0; turn < 1000 && read(bench, 'request.json') === null; turn += 1) await bench.pass(1000);
  const request = read(bench, 'request.json') as UpdateRequest | null;
  if (request === null) throw new Error('no request was written');
  return request;
}

describe('an install of another version', () => {
  it('is downloaded, verified, and handed over with a snapshot of the device', async () => {
    const bench = new UpdateBench();
    const updates = bench.start();
    await settle();
    const { update } = updates.install(WANTED, IDS);
    expect(update).toMatchObject({ update_id: ID, phase: 'requested', in_progress: true });
    const request = await handOver(bench);
    expect(bench.fetcher.asked).toEqual(['download 1.1.0', 'verify 1.1.0']);
    expect(request).toMatchObject({
      format: 1,
      id: ID,
      action: 'install',
      ...NEW,
      archive: `${NEW.digest}.tar.gz`,
      metadata: 'metadata',
      // The criteria here are one minute and one observation.
      trial_s: 1800 + 60 + 60,
    });
    expect(read(bench, 'before.json')).toMatchObject({ id: ID, connected: false, degraded: [] });
    expect(updates.state().update).toMatchObject({ phase: 'installing', digest: `sha256:${NEW.digest}` });
    expect(bench.progress.map(({ phase }) => phase)).toEqual([
      'requested',
      'downloading',
      'downloading',
      'verifying',
      'installing',
    ]);
  });

  it('is confirmed by the new version, which answers the command of the former one', async () => {
    const bench = new UpdateBench();
    bench.start().install(WANTED, IDS);
    await handOver(bench);
    bench.writeState(updaterState({ running: NEW, trial: trialOf(ID), last_request: ID }));

    const next = bench.start(NEW_RUNNING);
    const resumed: { id: string; name: string; running: Promise<unknown> }[] = [];
    next.resume({ resume: (command) => void resumed.push(command) });
    expect(resumed).toMatchObject([{ id: 'command-1', name: 'agent.install' }]);
    await bench.pass(2000);
    expect(next.state().update).toMatchObject({ phase: 'trial', waiting_for: ['time'] });
    expect(read(bench, 'confirm.json')).toBeNull();
    expect(read(bench, 'waiting.json')).toEqual({ format: 1, trial: ID, missing: ['time'] });
    await bench.pass(60_000);
    expect(read(bench, 'confirm.json')).toEqual({
      format: 1,
      trial: ID,
      digest: NEW.digest,
    });

    const outcome = { id: ID, action: 'install', ...NEW, at: '2026-06-01T00:00:00.000Z' } as const;
    bench.writeState(
      updaterState({
        running: NEW,
        last_good: OLD,
        installed: [OLD, NEW],
        last_request: ID,
        last_result: { ...outcome, status: 'committed', code: null, message: '' },
      }),
    );
    await bench.pass(2000);
    expect(await resumed[0]?.running).toEqual({
      update_id: ID,
      version: NEW.version,
      digest: `sha256:${NEW.digest}`,
    });
    expect(next.state()).toMatchObject({
      running: { version: NEW.version, digest: `sha256:${NEW.digest}` },
      last_good: { version: OLD.version },
      update: { phase: 'committed', in_progress: false },
    });
    expect(bench.events.map(({ type }) => type)).toEqual(['agent_update_started', 'agent_update_committed']);
  });

  it('fails in the former version, which runs again, with the reason of the updater', async () => {
    const bench = new UpdateBench();
    bench.start().install(WANTED, IDS);
    await handOver(bench);
    const outcome = { id: ID, action: 'install', ...NEW, at: '2026-06-01T00:00:00.000Z' } as const;
    bench.writeState(
      updaterState({
        last_request: ID,
        last_result: { ...outcome, status: 'returned', code: 'update_crash_loop', message: 'it crashed' },
        banned: [{ ...NEW, reason: 'update_crash_loop', at: outcome.at }],
      }),
    );
    const former = bench.start();
    const { ends } = former.install(WANTED, IDS);
    const failed = ends.catch((thrown: unknown) => thrown);
    await bench.pass(2000);
    expect(await failed).toMatchObject({ code: 'update_crash_loop', message: 'it crashed' });
    expect(former.state()).toMatchObject({
      update: { phase: 'returned', reason: { code: 'update_crash_loop' } },
      banned: [{ version: NEW.version, digest: `sha256:${NEW.digest}` }],
    });
    expect(bench.events.at(-1)).toMatchObject({ type: 'agent_update_returned', code: 'update_crash_loop' });
    expect(() => former.install(WANTED)).toThrow(expect.objectContaining({ code: 'update_banned' }) as Error);
  });

  it('ends when the archive cannot be fetched, and the next update may begin', async () => {
    const bench = new UpdateBench();
    const updates = bench.start();
    await settle();
    bench.fetcher.failure = new AgentError('model_trust_signature', 'too few signatures');
    const { ends } = updates.install(WANTED, IDS);
    const failed = ends.catch((thrown: unknown) => thrown);
    await bench.pass(1000);
    expect(await failed).toMatchObject({ code: 'model_trust_signature' });
    expect(bench.fetcher.asked).toContain(`discard ${ID}`);
    expect(updates.state().update).toMatchObject({ phase: 'failed', in_progress: false });
    expect(bench.events.at(-1)).toMatchObject({
      type: 'agent_update_failed',
      code: 'model_trust_signature',
      context: { phase: 'downloading' },
    });
    bench.fetcher.failure = null;
    updates.install(WANTED);
    await handOver(bench);
  });

  it('continues after a power cut before the request was written', async () => {
    const bench = new UpdateBench();
    bench.start().install(WANTED, IDS);
    await handOver(bench);
    // The record was stored, and the request was not.
    rmSync(join(bench.files.dir, 'request.json'));
    bench.start();
    expect(await handOver(bench)).toMatchObject({ id: ID, ...NEW });
  });

  it('fails when the updater does not act, and while it works it may take its time', async () => {
    const bench = new UpdateBench();
    const updates = bench.start();
    const { ends } = updates.install(WANTED, IDS);
    const failed = ends.catch((thrown: unknown) => thrown);
    await handOver(bench);
    bench.writeState(updaterState({ working: { id: ID, step: 'preflight', attempts: 1 } }));
    await bench.pass(600_000);
    expect(updates.state().update).toMatchObject({ phase: 'installing' });
    bench.writeState(updaterState());
    await bench.pass(310_000);
    expect(await failed).toMatchObject({ code: 'update_no_answer' });
    // An updater that starts later must find nothing to do.
    expect(bench.files.hasRequest(ID)).toBe(false);
  });

  it('writes the request once more when the updater has not begun after half a minute', async () => {
    const bench = new UpdateBench();
    bench.start().install(WANTED, IDS);
    await handOver(bench);
    const request = join(bench.files.dir, 'request.json');
    const written = (): number => statSync(request).ino;
    const first = written();
    await bench.pass(20_000);
    expect(written()).toBe(first);
    await bench.pass(15_000);
    const second = written();
    expect(second).not.toBe(first);
    await bench.pass(120_000);
    expect(written()).toBe(second);
  });
});

describe('what is refused before anything is downloaded', () => {
  it.each([
    ['an older version', { ...WANTED, version: '0.9.0' }, 'update_downgrade'],
    [
      'other bytes of the running version',
      { ...WANTED, version: OLD.version, digest: `sha256:${digestOf('c')}` },
      'update_downgrade',
    ],
  ])('%s', (_what, args, code) => {
    const bench = new UpdateBench();
    expect(() => bench.open().install(args)).toThrow(expect.objectContaining({ code }) as Error);
    expect(bench.fetcher.asked).toEqual([]);
  });

  it('a second update, also one of a trial without a record', async () => {
    const bench = new UpdateBench();
    const updates = bench.start();
    updates.install(WANTED);
    const busy = expect.objectContaining({ code: 'update_busy' }) as Error;
    expect(() => updates.install({ ...WANTED, version: '1.2.0' })).toThrow(busy);
    expect(() => updates.rollback()).toThrow(busy);
    const other = new UpdateBench();
    other.writeState(updaterState({ trial: trialOf(ID) }));
    expect(() => other.open().install({ ...WANTED, version: '1.2.0' })).toThrow(busy);
    await settle();
  });

  it('everything without an updater, a readable state, a repository or a root of trust', () => {
    const bench = new UpdateBench();
    const without = new UpdateFiles({ stateDir: bench.stateDir, updaterDir: null });
    const unavailable = expect.objectContaining({ code: 'update_unavailable' }) as Error;
    expect(() => bench.open(undefined, without).install(WANTED)).toThrow(unavailable);
    expect(bench.open(undefined, without).state()).toMatchObject({
      available: false,
      running: { version: OLD.version, digest: null },
    });
    writeFileSync(join(bench.updaterDir, 'state.json'), '{"format":1}');
    expect(() => bench.open().rollback()).toThrow(unavailable);
    bench.writeState(updaterState());
    bench.settings = { ...bench.settings, trustRoot: null };
    expect(() => bench.open().install(WANTED)).toThrow(
      expect.objectContaining({ code: 'update_no_repository' }) as Error,
    );
  });

  it('nothing when the version runs already: the update is committed at once', async () => {
    const bench = new UpdateBench();
    const { update, ends } = bench.open().install({ ...WANTED, version: OLD.version }, IDS);
    expect([update.phase, await ends]).toMatchObject(['committed', { version: OLD.version }]);
    expect(bench.events).toEqual([]);
  });
});

describe('a rollback', () => {
  it('asks the updater for the last good version, and ends when that one is confirmed', async () => {
    const bench = new UpdateBench();
    bench.writeState(updaterState({ running: NEW, last_good: OLD, installed: [OLD, NEW] }));
    const { update } = bench.start(NEW_RUNNING).rollback(IDS);
    expect(update).toMatchObject({ action: 'rollback', version: OLD.version });
    expect(await handOver(bench)).toMatchObject({ id: ID, action: 'rollback', version: null, archive: null });
    bench.writeState(
      updaterState({ trial: trialOf(ID, { action: 'rollback', ...OLD, former: NEW }), last_request: ID }),
    );
    bench.start();
    await bench.pass(62_000);
    expect(read(bench, 'confirm.json')).toEqual({ format: 1, trial: ID, digest: OLD.digest });
  });

  it('during a trial replaces the update, and ends without a result of its own', async () => {
    const bench = new UpdateBench();
    bench.start().install(WANTED, IDS);
    await handOver(bench);
    bench.writeState(updaterState({ running: NEW, trial: trialOf(ID), last_request: ID }));
    const next = bench.start(NEW_RUNNING);
    await bench.pass(2000);
    const rollbackId = ID.replace(/2$/, '3');
    const { ends } = next.rollback({ updateId: rollbackId, commandId: 'command-2' });
    expect(bench.events.at(-2)).toMatchObject({ type: 'agent_update_returned', code: 'command_interrupted' });
    await bench.pass(2000);
    expect(read(bench, 'request.json')).toMatchObject({ id: rollbackId, action: 'rollback' });
    const at = '2026-06-01T00:00:00.000Z';
    bench.writeState(
      updaterState({
        last_request: rollbackId,
        last_result: {
          ...{ id: ID, action: 'install', ...NEW, at },
          ...{ status: 'returned', code: 'update_rejected', message: 'an operator ended the trial' },
        } as const,
      }),
    );
    await bench.pass(2000);
    expect(await ends).toMatchObject({ update_id: rollbackId, version: OLD.version });
  });

  it('is refused without another version', () => {
    expect(() => new UpdateBench().open().rollback()).toThrow(
      expect.objectContaining({ code: 'update_no_previous' }) as Error,
    );
  });
});

describe('a trial', () => {
  it('is not confirmed by the former version, which may run again before the updater knows it', async () => {
    const bench = new UpdateBench();
    bench.writeState(updaterState({ running: NEW, trial: trialOf(ID) }));
    bench.start();
    await bench.pass(300_000);
    expect(read(bench, 'confirm.json')).toBeNull();
  });

  it('captures by itself when the schedule gives no observation', async () => {
    const bench = new UpdateBench();
    const before = { format: 1, id: ID, degraded: [], connected: true, camera_up: true };
    mkdirSync(bench.files.dir, { recursive: true });
    writeFileSync(join(bench.files.dir, 'before.json'), JSON.stringify(before));
    bench.writeState(updaterState({ running: NEW, trial: trialOf(ID) }));
    const updates = bench.start(NEW_RUNNING);
    await bench.pass(29_000);
    expect(bench.captures).toBe(0);
    await bench.pass(70_000);
    expect(bench.captures).toBeGreaterThanOrEqual(2);
    expect(read(bench, 'confirm.json')).toBeNull();
    updates.noteObservation({ status: 'failed' });
    await bench.pass(2000);
    expect(read(bench, 'confirm.json')).toBeNull();
    updates.noteObservation({ status: 'rejected' });
    await bench.pass(2000);
    expect(read(bench, 'confirm.json')).toEqual({ format: 1, trial: ID, digest: NEW.digest });
  });
});
