import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { codeFiles } from './codes.ts';
import { configFiles } from './config.ts';
import { contractFiles } from './contract.ts';
import { errorFiles } from './errors.ts';
import { nodeRedFiles } from './node-red.ts';
import { noticeFiles } from './notices.ts';

const root = join(import.meta.dirname, '..', '..');
const check = process.argv.includes('--check');
let differenceCount = 0;

/** Formats a file with Prettier, except for docs/generated/, which Prettier ignores. */
async function formatFile(path: string, text: string): Promise<string> {
  const filepath = join(root, path);
  return path.startsWith('docs/generated/')
    ? text
    : format(text, { ...(await resolveConfig(filepath)), filepath });
}

const files = {
  ...{ ...contractFiles(), ...codeFiles(), ...configFiles(), ...errorFiles(), ...noticeFiles() },
  ...nodeRedFiles(),
};
for (const [path, source] of Object.entries(files)) {
  const file = join(root, path);
  const text = await formatFile(path, source);
  if (check) {
    if (!existsSync(file) || readFileSync(file, 'utf8') !== text) {
      differenceCount += 1;
      process.stderr.write(`${path} is out of date; run \`npm run generate\`\n`);
    }
    continue;
  }
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
process.exit(differenceCount === 0 ? 0 : 1);
