import { DEGRADED_CODES, type CodeText } from '../../contract/codes.ts';
import type { LinkView } from '../../contract/openapi/views.ts';
import { failFinding, okFinding, warnFinding, type Finding } from './finding.ts';

/** The connection of a running agent to the broker. */
export function* linkFindings(link: LinkView): Generator<Finding> {
  const { broker, connected_since: since, protocol_version: version, faults, failure } = link;
  if (since !== null)
    yield okFinding(
      'broker',
      `the running agent is connected to ${broker ?? '?'} with ${versionName(version)} since ${since}`,
    );
  else if (failure !== null)
    yield failFinding(
      'broker',
      `the running agent is not connected: ${failure.message} [${failure.code}]`,
      failure.hint,
    );
  else
    yield warnFinding(
      'broker',
      'the running agent is not connected yet',
      'wait some seconds, then run `swellsight status`',
    );
  for (const fault of faults) yield codeFinding('the running agent reports ', fault);
}

/** A finding about a code of `degraded`. */
export function codeFinding(subject: string, fault: string): Finding {
  const [name] = fault.split(':');
  const known = Object.entries<CodeText>(DEGRADED_CODES).find(([code]) => code.split(':')[0] === name)?.[1];
  return warnFinding(
    'broker',
    `${subject}${fault}: ${known?.meaning ?? ''}`,
    known?.remedy ?? 'see the documents of the version of the running agent',
  );
}

export const versionName = (version: number | null): string => (version === 4 ? 'MQTT 3.1.1' : 'MQTT 5');
