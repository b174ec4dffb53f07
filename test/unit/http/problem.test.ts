import { describe, expect, it } from 'vitest';
import { AgentError, ERROR_CODES, type ErrorCode } from '../../../src/base/errors.ts';
import { toProblem } from '../../../src/http/problem.ts';

describe('toProblem', () => {
  it('has a status, a title and a hint for every code', () => {
    for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
      const problem = toProblem(new AgentError(code, 'what happened'));
      expect(problem.code).toBe(code);
      expect(problem.status).toBeGreaterThanOrEqual(400);
      expect(problem.status).toBeLessThan(600);
      expect(problem.title).not.toBe('');
      expect(problem.hint).toBe(ERROR_CODES[code].hint);
    }
  });

  it('removes paths, credentials and messages of foreign errors', () => {
    const path = toProblem(
      new AgentError('store_failed', 'cannot open /var/lib/swellsight/agent.db and C:\\data\\x.db'),
    );
    expect(path.detail).toBe('cannot open … and …');
    const url = toProblem(
      new AgentError('camera_unreachable', 'no answer from rtsp://user:hunter2@10.0.0.1/live?token=hunter2'),
    );
    expect(url.detail).not.toContain('hunter2');
    expect(toProblem(new TypeError('x is undefined at /src/agent.ts')).detail).not.toContain('agent.ts');
    expect(toProblem('a string').code).toBe('internal');
    expect(
      toProblem(new AgentError('request_invalid', 'x'.repeat(10_000))).detail.length,
    ).toBeLessThanOrEqual(500);
  });
});
