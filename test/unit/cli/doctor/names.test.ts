import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { CHECK_NAMES } from '../../../../src/cli/doctor/finding.ts';

const PAGE = readFileSync(new URL('../../../../docs/doctor.md', import.meta.url), 'utf8');
const SOURCES = new URL('../../../../src/cli/doctor/', import.meta.url);

it('docs/doctor.md lists the checks of the code in the same order', () => {
  const [, checks = ''] = PAGE.split(/^## /m).filter((section) => !section.startsWith('An archive'));
  const names = [...checks.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name);
  expect(names).toEqual([...CHECK_NAMES]);
});

it('every name is one of a finding in the code', () => {
  const code = readdirSync(SOURCES)
    .filter((file) => file !== 'finding.ts')
    .map((file) => readFileSync(new URL(file, SOURCES), 'utf8'))
    .join('\n');
  const unused = CHECK_NAMES.filter((name) => {
    const start = name.endsWith(' ID') ? `\`${name.slice(0, -2)}\${` : `'${name}'`;
    return !code.includes(start);
  });
  expect(unused).toEqual([]);
});

it('every remedy of the code is on the page', () => {
  const code = ['board.ts', 'cameras.ts', 'command.ts', 'gpu.ts', 'machine.ts', 'model.ts', 'network.ts']
    .map((file) => readFileSync(new URL(file, SOURCES), 'utf8'))
    .join('\n');
  const remedies = [...code.matchAll(/\b(?:warn|fail)Finding\((?:[^;]*?),\s*'([^'\n]+)',?\s*\)/g)].map(
    ([, remedy = '']) => remedy,
  );
  expect(remedies.length).toBeGreaterThan(15);
  const page = PAGE.replaceAll(/\s+/g, ' ');
  expect(remedies.filter((remedy) => !page.includes(remedy))).toEqual([]);
});
