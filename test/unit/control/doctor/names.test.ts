import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { CHECK_NAMES } from '../../../../src/control/doctor/finding.ts';

const PAGE = readFileSync(new URL('../../../../docs/doctor.md', import.meta.url), 'utf8');
/** The files of the checks, those of the command and those of the running agent. */
const readCode = (left: readonly string[]): string =>
  ['cli', 'control']
    .map((part) => new URL(`../../../../src/${part}/doctor/`, import.meta.url))
    .flatMap((directory) =>
      readdirSync(directory)
        .filter((file) => ![...left, 'finding.ts'].includes(file))
        .map((file) => readFileSync(new URL(file, directory), 'utf8')),
    )
    .join('\n');

it('docs/doctor.md lists the checks of the code in the same order', () => {
  const [, checks = ''] = PAGE.split(/^## /m).filter((section) => !section.startsWith('An archive'));
  const names = [...checks.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name);
  expect(names).toEqual([...CHECK_NAMES]);
});

it('every name is one of a finding in the code', () => {
  const code = readCode([]);
  const unused = CHECK_NAMES.filter((name) => {
    const start = name.endsWith(' ID') ? `\`${name.slice(0, -2)}\${` : `'${name}'`;
    return !code.includes(start);
  });
  expect(unused).toEqual([]);
});

it('every remedy of the code is on the page', () => {
  // Those of the broker are on the page in fewer words.
  const code = readCode(['broker.ts', 'link.ts']);
  const remedies = [...code.matchAll(/\b(?:warn|fail)Finding\((?:[^;]*?),\s*'([^'\n]+)',?\s*\)/g)].map(
    ([, remedy = '']) => remedy,
  );
  expect(remedies.length).toBeGreaterThan(15);
  const page = PAGE.replaceAll(/\s+/g, ' ');
  expect(remedies.filter((remedy) => !page.includes(remedy))).toEqual([]);
});
