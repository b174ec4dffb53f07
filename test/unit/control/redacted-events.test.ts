import { expect, it } from 'vitest';
import type { EventDraft } from '../../../src/contract/states.ts';
import { redactedEvents } from '../../../src/control/redacted-events.ts';

const raised = (type: string): EventDraft => {
  const events: EventDraft[] = [];
  const raise = redactedEvents(
    (event) => void events.push(event),
    (text) => text.replaceAll('swordfish', '***'),
  );
  const context = { command: 'swordfish', id: 'swordfish' };
  raise({ type, severity: 'warning', code: 'command_expired', message: 'swordfish', context });
  const [event] = events;
  if (!event) throw new Error('no event');
  return event;
};

it('removes secrets from message and context', () => {
  expect(raised('camera_state')).toMatchObject({ message: '***', context: { command: '***', id: '***' } });
});

it('does not tell the sender of a command whether its texts are secrets', () => {
  expect(raised('command_refused')).toMatchObject({ context: { command: 'swordfish', id: 'swordfish' } });
});
