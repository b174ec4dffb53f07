import { expect, it } from 'vitest';
import { EXIT, exitCodeOf } from '../../../src/cli/terminal.ts';
import { AgentError } from '../../../src/base/errors.ts';

it('a port that is taken is "unavailable", whichever it is', () => {
  expect(exitCodeOf(new AgentError('mqtt_port_taken', 'in use'))).toBe(EXIT.unavailable);
  expect(exitCodeOf(new AgentError('http_listen', 'in use'))).toBe(EXIT.unavailable);
});
