import { describe, expect, it } from 'vitest';
import { AgentError, asAgentError, ERROR_CODES } from '../../../src/base/errors.ts';

describe('AgentError', () => {
  it('takes hint and retryable from its code', () => {
    const error = new AgentError('camera_timeout', 'no frame within 5 s', { context: { camera: 'north' } });
    expect(error.retryable).toBe(ERROR_CODES.camera_timeout.retryable);
    expect(error.hint).toBe(ERROR_CODES.camera_timeout.hint);
  });

  it('wraps a foreign error and keeps it as the cause', () => {
    const cause = new TypeError('x is not a function');
    const error = asAgentError(cause);
    expect([error.code, error.cause]).toEqual(['internal', cause]);
    expect(asAgentError(error)).toBe(error);
  });
});
