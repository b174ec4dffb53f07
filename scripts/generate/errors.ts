import { ERROR_CODES } from '../../src/base/errors.ts';
import { CAUSE_REMEDIES, REMEDIES } from '../../src/camera/remedies.ts';
import { BROKER_EXAMPLES, BROKER_FILE_EXAMPLES, HOST_EXAMPLE } from './broker-examples.ts';
import { CAMERA_EXAMPLES, CONFIGURATION_EXAMPLES } from './error-examples.ts';

const escapeCell = (text: string): string => text.replaceAll('|', '\\|');

/** `docs/errors.md`, generated from the list of codes. */
export function errorFiles(): Record<string, string> {
  const rows = Object.entries(ERROR_CODES).map(
    ([code, { retryable, hint }]) => `| \`${code}\` | ${retryable ? 'yes' : 'no'} | ${escapeCell(hint)} |`,
  );
  const cameraRows = Object.entries(REMEDIES).flatMap(([kind, remedies]) =>
    Object.entries(remedies).flatMap(([code, hint]) =>
      hint === null ? [] : [`| \`${kind}\` | \`${code}\` | ${escapeCell(hint)} |`],
    ),
  );
  const causes = Object.values(CAUSE_REMEDIES).map((hint) => `- ${hint}`);
  const text = [
    '# Error codes',
    '',
    'Generated from `src/base/errors.ts` by `npm run generate`. The codes are stable. They appear in events, in the reasons of',
    'observations, in answers to commands, in HTTP problem documents (`code`) and in the log.',
    '',
    '| code | retryable | what to do |',
    '| --- | --- | --- |',
    ...rows,
    '',
    '## Cameras',
    '',
    'Generated from `src/camera/remedies.ts`. The remedy of a camera failure depends on the kind of the camera:',
    '',
    '| kind | code | what to do |',
    '| --- | --- | --- |',
    ...cameraRows,
    '',
    'Where the camera or the network names the cause, one of these remedies stands in its place:',
    '',
    ...causes,
    '',
    '## What a person sees',
    '',
    '`swellsight doctor` shows the failure of a camera, its code and the remedy:',
    '',
    '```text',
    ...Object.entries(CAMERA_EXAMPLES).map(([name, line]) => `FAIL  camera ${name.padEnd(11)} ${line}`),
    '```',
    '',
    'For the broker:',
    '',
    '```text',
    ...Object.entries(BROKER_EXAMPLES).flatMap(([situation, lines]) => [
      `# ${situation}`,
      ...lines.map((line) => line.replace(/^(\w+) /, (_, state: string) => `${state.padEnd(4)}  broker  `)),
    ]),
    '```',
    '',
    '`swellsight check-config` shows what is wrong in the configuration, without secrets:',
    '',
    '```text',
    ...[...CONFIGURATION_EXAMPLES, ...BROKER_FILE_EXAMPLES].map(([, line]) => line),
    '```',
    '',
    'HTTP requests get a problem document, for example behind a proxy whose host name is not allowed (403):',
    '',
    '```text',
    ...Object.entries(HOST_EXAMPLE).map(([name, text]) => `${name}: ${text}`),
    '```',
    '',
  ].join('\n');
  return { 'docs/errors.md': text };
}
