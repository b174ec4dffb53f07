import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { configFiles } from './config.ts';
import { contractFiles } from './contract.ts';
import { errorFiles } from './errors.ts';

const root = join(import.meta.dirname, '..', '..');
const check = process.argv.includes('--check');
let differing = 0;

/** As the formatter of the project would leave it; the JSON Schemas are not its business. */
async function formatted(path: string, text: string): Promise<string> {
  const filepath = join(root, path);
  return path.startsWith('docs/generated/')
    ? text
    : format(text, { ...(await resolveConfig(filepath)), filepath });
}

const files = { ...contractFiles(), ...configFiles(), ...errorFiles() };
for (const [path, source] of Object.entries(files)) {
  const file = join(root, path);
  const text = await formatted(path, source);
  if (check) {
    let found: string | null = null;
    try {
      found = readFileSync(file, 'utf8');
    } catch {
      found = null;
    }
    if (found !== text) {
      differing += 1;
      process.stderr.write(`${path} is not what its source gives; run \`npm run generate\`\n`);
    }
    continue;
  }
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
process.exit(differing === 0 ? 0 : 1);
