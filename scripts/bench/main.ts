import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openBundle } from '../../src/model/bundle/bundle.ts';
import { drain } from './drain.ts';
import { frameToRecord } from './frame-to-record.ts';
import { seaPictures } from './picture.ts';
import { http } from './http.ts';
import { coldStart, idle, underLoad } from './running-agent.ts';
import { swap } from './swap.ts';
import { printTable, type Row } from './table.ts';

const { values } = parseArgs({
  options: { json: { type: 'string' }, only: { type: 'string' }, swaps: { type: 'string', default: '50' } },
});
const root = join(import.meta.dirname, '..', '..');
const say = (text: string): void => void process.stderr.write(`${text}\n`);

say(`${cpus()[0]?.model ?? 'unknown CPU'}, ${availableParallelism()} cores, Node ${process.versions.node}`);
const bundle = await openBundle(join(root, 'models/swellsight-factory/1.0.0'));
const pictures = seaPictures(6);
const parts: Record<string, () => Promise<readonly Row[]>> = {
  frame: () => frameToRecord(bundle, pictures),
  load: () => underLoad(pictures),
  start: () => coldStart(pictures),
  idle: () => idle(pictures),
  drain,
  http: () => http(bundle, pictures),
  swap: () => swap(bundle, pictures, Number(values.swaps)),
};
const rows: Row[] = [];
for (const [name, measure] of Object.entries(parts)) {
  if (values.only !== undefined && values.only !== name) continue;
  say(`measuring: ${name}`);
  rows.push(...(await measure()));
}
process.stdout.write(`${printTable(rows)}\n`);
if (values.json !== undefined)
  writeFileSync(
    values.json,
    `${JSON.stringify({ node: process.versions.node, cpu: cpus()[0]?.model, rows }, null, 2)}\n`,
  );
