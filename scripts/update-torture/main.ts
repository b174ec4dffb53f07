// npm run torture:update: cuts the power during updates of the agent. See docs/agent-update.md.
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readPositiveOption } from '../positive-option.ts';
import { canCutPower } from '../torture/power/disk.ts';
import { UpdateTorture } from './torture.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    cuts: { type: 'string', default: '200' },
    json: { type: 'string' },
  },
});
if (!canCutPower()) {
  process.stderr.write('torture:update needs root, loop devices, XFS and ext4\n');
  process.exit(2);
}
const torture = new UpdateTorture(
  {
    seed: values.seed === undefined ? randomInt(2 ** 31) : readPositiveOption('seed', values.seed),
    cuts: readPositiveOption('cuts', values.cuts),
  },
  (line) => void process.stderr.write(`${line}\n`),
);
const report = await torture.run();
const text = JSON.stringify(report, null, 2);
process.stdout.write(`${text}\n`);
if (values.json !== undefined) writeFileSync(values.json, text);
process.exitCode = report.faults.length === 0 && report.cuts > 0 ? 0 : 1;
