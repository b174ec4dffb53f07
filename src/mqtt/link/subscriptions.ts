import { COMMAND_ARGS } from '../../contract/command.ts';
import type { Topics } from '../topics.ts';
import type { SubscribeRefusal } from './broker-answers.ts';
import type { Session } from './session.ts';

/** SUBACK codes of a refusal that may end soon: implementation specific, quota exceeded. Source: MQTT 5.0 section 3.9.3. */
const TEMPORARY = new Set([131, 151]);
/** All commands, and the blocks of a model or an agent. */
const NAMES = [...Object.keys(COMMAND_ARGS), 'model.block'];
const OPTIONS = { retained: false, own: false } as const;

export const isTemporary = ({ code }: SubscribeRefusal): boolean => TEMPORARY.has(code);

/**
 * Subscribes to all commands with a wildcard, or to each command if the broker does not accept that. Resolves with the
 * refusal, or with null.
 */
export async function subscribeToCommands(
  session: Session,
  topics: Topics,
): Promise<SubscribeRefusal | null> {
  if (session.limits.has('wildcards')) return subscribeToEach(session, topics);
  const refusal = await session.subscribe(topics.commands, OPTIONS);
  if (refusal === null || isTemporary(refusal)) return refusal;
  // Wildcards may not be supported, or the access rules may list commands one by one.
  const single = await subscribeToEach(session, topics);
  if (single === null) session.limits.add('wildcards');
  return single;
}

/** The first refusal, with the names of the commands that were refused when others were accepted. */
async function subscribeToEach(session: Session, topics: Topics): Promise<SubscribeRefusal | null> {
  const refusals = await Promise.all(NAMES.map((name) => session.subscribe(topics.command(name), OPTIONS)));
  const refused = NAMES.filter((_, index) => refusals[index] !== null);
  const first = refusals.find((refusal) => refusal !== null);
  if (!first) return null;
  return refused.length === NAMES.length
    ? first
    : { ...first, reason: `${first.reason}, for ${refused.join(', ')}` };
}

/** The retained status shows whether another agent has this identity. Resolves with the refusal, or with null. */
export const subscribeToStatus = (session: Session, topics: Topics): Promise<SubscribeRefusal | null> =>
  session.subscribe(topics.status, { retained: true, own: true });
