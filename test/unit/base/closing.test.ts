import { expect, it } from 'vitest';
import { closeAtEnd, closeQuietly, firstFailure } from '../../../src/base/closing.ts';
import { errorCode, isDiskFull } from '../../../src/base/disk-errors.ts';
import { AgentError, asAgentError, isAbort, isTimeout } from '../../../src/base/errors.ts';

const failsWith = async (error: Error): Promise<never> => {
  await Promise.resolve();
  throw error;
};

/** A block that fails with `failure`, and whose two closers fail after it. */
async function run(failure: Error | null): Promise<string> {
  await using _first = closeAtEnd(() => failsWith(new Error('EIO: first')));
  await using _second = closeAtEnd(() => failsWith(new Error('EIO: second')));
  await Promise.resolve();
  if (failure) throw failure;
  return 'done';
}
const failureOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (thrown: unknown) => thrown,
  );

it('keeps the failure of the block before those of its closers', async () => {
  const failure = new AgentError('model_not_found', 'no model');
  const thrown = await failureOf(run(failure));
  expect(firstFailure(thrown)).toBe(failure);
  expect(asAgentError(thrown)).toMatchObject({
    code: 'model_not_found',
    context: { cleanup: ['EIO: second', 'EIO: first'] },
  });
});

it('reports the failure of a closer when the block has none', async () => {
  expect(asAgentError(await failureOf(run(null))).message).toBe('EIO: second');
});

it('the kind of a failure is that of the first one', async () => {
  const full = await failureOf(run(Object.assign(new Error('full'), { code: 'ENOSPC' })));
  expect(errorCode(full)).toBe('ENOSPC');
  expect(isDiskFull(full)).toBe(true);
  expect(isTimeout(await failureOf(run(new DOMException('late', 'TimeoutError'))))).toBe(true);
  expect(isAbort(await failureOf(run(new DOMException('stop', 'AbortError'))))).toBe(true);
});

it('ignores the failure of a closer after a failure', async () => {
  await expect(closeQuietly(() => failsWith(new Error('EIO')))).resolves.toBeUndefined();
  await expect(
    closeQuietly(() => {
      throw new Error('EIO');
    }),
  ).resolves.toBeUndefined();
});
