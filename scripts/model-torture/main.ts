// npm run torture:models: kills the agent during model installs. See docs/model-install.md.
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ModelTorture } from './torture.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    kills: { type: 'string', default: '300' },
    'life-ms': { type: 'string', default: '12000' },
    json: { type: 'string' },
  },
});
const parseCount = (name: string, text: string): number => {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  process.stderr.write(`torture:models: --${name} must be a whole number\n`);
  return process.exit(2);
};
const torture = new ModelTorture(
  {
    seed: values.seed === undefined ? randomInt(2 ** 31) : parseCount('seed', values.seed),
    kills: parseCount('kills', values.kills),
    lifeMs: parseCount('life-ms', values['life-ms']),
  },
  { print: (line) => void process.stderr.write(`${line}\n`) },
);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => void torture.cleanUp().finally(() => process.exit(130)));

try {
  const report = await torture.run();
  const text = JSON.stringify(report, null, 2);
  process.stdout.write(`${text}\n`);
  if (values.json !== undefined) writeFileSync(values.json, text);
  process.exitCode = report.faults.length === 0 ? 0 : 1;
} finally {
  await torture.cleanUp();
}
