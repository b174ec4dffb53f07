import { describe, expect, it } from 'vitest';
import { AgentError, asAgentError, ERROR_CODES } from '../../../src/base/errors.ts';

describe('AgentError', () => {
  it('takes hint and retryable from its code', () => {
    const error = new AgentError('camera_timeout', 'no frame within 5 s', { context: { camera: 'north' } });
    expect(error.retryable).toBe(ERROR_CODES.camera_timeout.retryable);
    expect(error.hint).toBe(ERROR_CODES.camera_timeout.hint);
  });

  it('may have a hint of its own', () => {
    const error = new AgentError('camera_timeout', 'no frame', { hint: 'buy a faster camera' });
    expect([error.hint, error.hasOwnHint]).toEqual(['buy a faster camera', true]);
    expect(new AgentError('camera_timeout', 'no frame').hasOwnHint).toBe(false);
  });

  it('does not take a deadline for an internal fault', () => {
    const cause = new DOMException('The operation was aborted due to timeout', 'TimeoutError');
    expect(asAgentError(cause)).toMatchObject({ code: 'command_timeout', cause });
  });

  it('wraps a foreign error and keeps it as the cause', () => {
    const cause = new TypeError('x is not a function');
    const error = asAgentError(cause);
    expect([error.code, error.cause]).toEqual(['internal', cause]);
    expect(asAgentError(error)).toBe(error);
  });
});
