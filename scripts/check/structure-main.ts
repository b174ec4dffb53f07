// Checks the structure of src/ and the file names in the documents. Prints the size of src/ and every fault.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { checkDecisionNumbers, checkDocuments } from './documents.ts';
import { ROOT } from './run-program.ts';
import { checkStructure } from './structure.ts';

const require = createRequire(import.meta.url);
const { forbidden } = require('../../.dependency-cruiser.cjs') as {
  readonly forbidden: readonly { readonly name: string }[];
};

const filesUnder = (directory: string, extension: string): readonly string[] =>
  readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(extension))
    .sort();

const sources = [...filesUnder('src', '.ts'), ...filesUnder('src', '.tsx')].map((path) => ({
  path,
  text: readFileSync(join(ROOT, 'src', path), 'utf8'),
}));
const report = checkStructure(sources, {
  importRules: new Set(forbidden.map(({ name }) => name)),
  sharedNames: require('./exported-names.json') as Record<string, string>,
});
const documents = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...['config', 'docs', 'models'].flatMap((directory) =>
    filesUnder(directory, '.md').map((path) => join(directory, path)),
  ),
];
const notes = readdirSync(join(ROOT, 'docs/decisions')).filter((name) => /^\d/.test(name));
const missingTests = (require('./longest-test-files.json') as readonly string[])
  .filter((path) => !existsSync(join(ROOT, path)))
  .map((path) => `scripts/check/longest-test-files.json: names a missing file: ${path}`);
const faults = [
  ...report.faults,
  ...checkDocuments(ROOT, documents),
  ...checkDecisionNumbers(notes),
  ...missingTests,
];
for (const fault of faults) console.log(fault);
console.log(`src: ${report.files} files, ${report.lines} lines, median ${report.medianLines} lines`);
process.exit(faults.length === 0 ? 0 : 1);
