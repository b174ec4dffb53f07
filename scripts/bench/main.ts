import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openBundle } from '../../src/model/bundle/bundle.ts';
import { measureClip } from './clip.ts';
import { measureDrain } from './drain.ts';
import { measureFrameToRecord } from './frame-to-record.ts';
import { measureLongHistory } from './long-history.ts';
import { drawSeaImages } from './sea-images.ts';
import { measureHttp } from './http.ts';
import { measureColdStart, measureIdle, measureLoad } from './running-agent.ts';
import { measureSwaps } from './swap.ts';
import { printTable, type Row } from './table.ts';
import { measureWritten } from './written.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'string' },
    only: { type: 'string' },
    swaps: { type: 'string', default: '50' },
    years: { type: 'string', default: '5' },
  },
});
const root = join(import.meta.dirname, '..', '..');
const print = (text: string): void => void process.stderr.write(`${text}\n`);

print(`${cpus()[0]?.model ?? 'unknown CPU'}, ${availableParallelism()} cores, Node ${process.versions.node}`);
const bundle = await openBundle(join(root, 'models/swellsight-factory/1.0.0'));
const frames = drawSeaImages(6);
const parts: Record<string, () => Promise<readonly Row[]>> = {
  frame: () => measureFrameToRecord(bundle, frames),
  load: () => measureLoad(frames),
  start: () => measureColdStart(frames),
  idle: () => measureIdle(frames),
  written: measureWritten,
  drain: measureDrain,
  http: () => measureHttp(bundle, frames),
  clip: measureClip,
  swap: () => measureSwaps(bundle, frames, Number(values.swaps)),
};
// Only when it is asked for: it needs 10 GB of disk and several minutes.
if (values.only === 'history')
  parts['history'] = () => measureLongHistory(frames, Number(values.years) * 365 * 1440);
const rows: Row[] = [];
for (const [name, measure] of Object.entries(parts)) {
  if (values.only !== undefined && values.only !== name) continue;
  print(`measuring: ${name}`);
  rows.push(...(await measure()));
}
process.stdout.write(`${printTable(rows)}\n`);
if (values.json !== undefined)
  writeFileSync(
    values.json,
    `${JSON.stringify({ node: process.versions.node, cpu: cpus()[0]?.model, rows }, null, 2)}\n`,
  );
