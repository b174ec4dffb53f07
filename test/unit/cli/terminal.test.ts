import { expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { EXIT, exitCodeOf } from '../../../src/cli/terminal.ts';

it('maps a used port to the exit code "unavailable"', () => {
  expect(exitCodeOf(new AgentError('mqtt_port_taken', 'in use'))).toBe(EXIT.unavailable);
  expect(exitCodeOf(new AgentError('http_listen', 'in use'))).toBe(EXIT.unavailable);
});
