import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { contractFiles } from './contract.ts';

const root = join(import.meta.dirname, '..', '..');
const check = process.argv.includes('--check');
let differing = 0;

for (const [path, text] of Object.entries(contractFiles())) {
  const file = join(root, path);
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
