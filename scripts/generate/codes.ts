import { ERROR_CODES, type ErrorCode } from '../../src/base/errors.ts';
import {
  BREAKER_REASONS,
  DEGRADED_CODES,
  EVENT_CODES,
  OWN_REASONS,
  REJECTIONS,
  SEA_STATE_REASONS,
  STATE_REASONS,
  WARNINGS,
  type CodeText,
} from '../../src/contract/codes.ts';
import { EVENT_TYPES } from '../../src/contract/events.ts';
import { REASONS, type Reason } from '../../src/contract/observation.ts';

export const escapeCell = (text: string): string => text.replaceAll('|', '\\|');

const isOwnReason = (reason: Reason): reason is keyof typeof OWN_REASONS =>
  Object.hasOwn(OWN_REASONS, reason);
const errorText = (code: ErrorCode): CodeText => ({
  meaning: ERROR_CODES[code].meaning,
  remedy: ERROR_CODES[code].hint,
});
const REASON_TEXTS = Object.fromEntries(
  REASONS.map((reason) => [reason, isOwnReason(reason) ? OWN_REASONS[reason] : errorText(reason)]),
);

/**
 * `docs/generated/codes.md`, generated from all tables of codes; and the texts of the codes of events and failures for the
 * device page, which has no code of the agent.
 */
export function codeFiles(): Record<string, string> {
  const text = [
    '# Codes',
    '',
    'All codes of this version, each with its meaning and what to do. Generated from `src/contract/codes.ts`,',
    '`src/contract/events.ts` and `src/base/errors.ts` by `npm run generate`. Codes are stable: a later version may add some, and',
    'removes or renames none ([compatible changes](../consumer-guide.md#compatible-changes)).',
    '',
    ...section(
      'Event types',
      'The last level of the topic `…/event/{type}`, and `type` of the event.',
      EVENT_TYPES,
    ),
    ...section(
      'Event codes',
      '`code` of an event is its type, one of these, a [reason](#reasons) or an [error code](#error-codes).',
      EVENT_CODES,
    ),
    ...section(
      'Reasons',
      'Why a record is `rejected`, `failed` or `skipped`, or why a measured one has no height: `reasons` of a record, and `reason` ' +
        'of the state of a camera. [quality-gate.md](../quality-gate.md) has the limits of the gate.',
      { ...REASON_TEXTS, ...STATE_REASONS },
    ),
    ...section(
      'Reasons of sea states',
      'Why a clip gives no period: `reasons` of a sea state. Those of the camera, the frame and the schedule are as ' +
        '[above](#reasons).',
      SEA_STATE_REASONS,
    ),
    ...section(
      'Reasons of breaker heights',
      'Why a clip gives no breaker height: `breaker.reason` of a sea state.',
      BREAKER_REASONS,
    ),
    ...section(
      'Warnings',
      '`warnings` of a record: it is valid, with this restriction. The [error code](#error-codes) of each frame that failed in a burst ' +
        'is a warning too.',
      WARNINGS,
    ),
    ...section(
      'Degraded codes',
      '`degraded` of the heartbeat. `{id}` is the id of a camera, `{whose}` is `device` or `broker`, `{feature}` is one of ' +
        '[brokers.md](../brokers.md), `{part}` is the part of the record that could not be read and is not checked further.',
      DEGRADED_CODES,
    ),
    ...section(
      'Rejections of commands',
      '`reason` of a receipt with `rejected`: the command did not run.',
      REJECTIONS,
    ),
    '## Error codes',
    '',
    'They appear in events, in the reasons and warnings of records, in answers to commands, in HTTP problem documents (`code`) and',
    'in the log. The same attempt may succeed later for a code that is retryable. [errors.md](../errors.md) has the remedies for each',
    'kind of camera, and examples.',
    '',
    '| code | retryable | meaning | what to do |',
    '| --- | --- | --- | --- |',
    ...Object.entries(ERROR_CODES).map(([code, { retryable, meaning, hint }]) =>
      row(`\`${code}\``, retryable ? 'yes' : 'no', meaning, hint),
    ),
    '',
  ].join('\n');
  return {
    'docs/generated/codes.md': text,
    'src/web/device/agent/code-texts.json': JSON.stringify({
      codes: pageTexts({ ...Object.fromEntries(errorTexts), ...REASON_TEXTS, ...EVENT_CODES }),
      event_types: pageTexts(EVENT_TYPES),
    }),
  };
}

const errorTexts = Object.keys(ERROR_CODES).map((code) => [code, errorText(code as ErrorCode)] as const);
/** Meaning and remedy of each code. */
const pageTexts = (codes: Readonly<Record<string, CodeText>>): Readonly<Record<string, readonly string[]>> =>
  Object.fromEntries(Object.entries(codes).map(([code, { meaning, remedy }]) => [code, [meaning, remedy]]));

const row = (...cells: readonly string[]): string => `| ${cells.map(escapeCell).join(' | ')} |`;

const section = (
  title: string,
  introduction: string,
  codes: Readonly<Record<string, CodeText>>,
): readonly string[] => [
  `## ${title}`,
  '',
  introduction,
  '',
  '| code | meaning | what to do |',
  '| --- | --- | --- |',
  ...Object.entries(codes).map(([code, text]) => row(`\`${code}\``, text.meaning, text.remedy)),
  '',
];
