import { ERROR_CODES } from '../../src/base/errors.ts';

/** `docs/errors.md`, generated from the list of codes. */
export function errorFiles(): Record<string, string> {
  const rows = Object.entries(ERROR_CODES).map(
    ([code, { retryable, hint }]) =>
      `| \`${code}\` | ${retryable ? 'yes' : 'no'} | ${hint.replaceAll('|', '\\|')} |`,
  );
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
  ].join('\n');
  return { 'docs/errors.md': text };
}
