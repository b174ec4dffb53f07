import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { CurrentModel } from '../../../src/serving/current-model.ts';
import { Outcomes } from '../../../src/serving/outcomes.ts';
import type { ServedModel } from '../../../src/serving/served-model.ts';
import type { FrameResult } from '../../../src/vision/protocol.ts';
import { analyzeOnce } from '../../fixtures/lease.ts';
import { ManualClock, silentLog } from '../../fixtures/store.ts';

const FRAME = [new Uint8Array(), { roi: null, privacyMasks: [] }] as const;

/** A model whose process answers when the test says so. */
function currentModel() {
  const clock = new ManualClock();
  const outcomes = new Outcomes({ log: silentLog });
  const current = new CurrentModel({ timeoutS: 1 }, { clock, outcomes, openedBundle: () => null });
  const pending: { resolve: (result: FrameResult) => void; reject: (error: unknown) => void }[] = [];
  let progressMs: number | null = null;
  const note = (): void => void (progressMs = clock.monoMs());
  const process = {
    stats: () => ({ restarts: 0, lastProgressMonoMs: progressMs }),
    analyze: () =>
      new Promise<FrameResult>((resolve, reject) => {
        pending.push({ resolve, reject });
      }),
  };
  const model = { digest: 'a', process, addLease: () => undefined, endLease: () => undefined };
  current.switchTo(model as unknown as ServedModel);
  const send = (): Promise<unknown> => analyzeOnce(current, ...FRAME).catch((error: unknown) => error);
  const settle = async (request: Promise<unknown>, error?: AgentError): Promise<void> => {
    const first = pending.shift();
    if (error) first?.reject(error);
    else {
      note();
      first?.resolve({} as FrameResult);
    }
    await request;
  };
  return { clock, current, send, settle, opened: note };
}

const TIMEOUT = new AgentError('vision_timeout', 'no answer');
const NOT_STARTED = new AgentError('vision_start_failed', 'does not start');

describe('the time since which requests are unanswered', () => {
  it('is null without requests, and begins with the first request, however old the last answer is', async () => {
    const { clock, current, send, settle } = currentModel();
    expect(current.unansweredSinceMonoMs).toBeNull();
    await settle(send());
    clock.advance(3_600_000);
    expect(current.unansweredSinceMonoMs).toBeNull();
    const startedMs = clock.monoMs();
    const request = send();
    clock.advance(5000);
    expect(current.unansweredSinceMonoMs).toBe(startedMs);
    await settle(request);
    expect(current.unansweredSinceMonoMs).toBeNull();
  });

  it('moves on with each answer while requests wait', async () => {
    const { clock, current, send, settle } = currentModel();
    const requests = [send(), send()];
    clock.advance(5000);
    await settle(requests[0]!);
    expect(current.unansweredSinceMonoMs).toBe(clock.monoMs());
  });

  it('goes on while every request fails because the process hangs or does not start', async () => {
    const { clock, current, send, settle } = currentModel();
    const startedMs = clock.monoMs();
    for (const error of [TIMEOUT, NOT_STARTED, NOT_STARTED]) {
      const request = send();
      clock.advance(10_000);
      await settle(request, error);
    }
    expect(current.unansweredSinceMonoMs).toBe(startedMs);
  });

  it('ends when the process starts again, and a request hours later counts from its own start', async () => {
    const { clock, current, send, settle, opened } = currentModel();
    await settle(send(), TIMEOUT);
    clock.advance(2000);
    opened();
    expect(current.unansweredSinceMonoMs).toBeNull();
    clock.advance(8 * 3_600_000);
    expect(current.unansweredSinceMonoMs).toBeNull();
    const startedMs = clock.monoMs();
    const request = send();
    clock.advance(1000);
    expect(current.unansweredSinceMonoMs).toBe(startedMs);
    await settle(request);
  });

  it('is null after a refused image and after a request that its caller aborted', async () => {
    const { current, send, settle } = currentModel();
    for (const error of [
      new AgentError('image_unsupported', 'no image'),
      new DOMException('', 'AbortError'),
    ]) {
      await settle(send(), error as AgentError);
      expect(current.unansweredSinceMonoMs).toBeNull();
    }
  });
});
