import { Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { readFileSync } from 'node:fs';
import { replaceFile } from '../base/atomic-file.ts';
import { AgentError } from '../base/errors.ts';
import type { RolloutFile } from './rollout.ts';

const Text = Type.String();
const PHASES = ['waiting', 'sent', 'installing', 'probation', 'committed', 'failed'] as const;
const RolloutSchema = Type.Object({
  format: Type.Literal(1),
  id: Text,
  name: Text,
  version: Text,
  to: Text,
  devices: Type.Record(
    Text,
    Type.Object({
      phase: Type.Union(PHASES.map((phase) => Type.Literal(phase))),
      detail: Type.Union([Text, Type.Null()]),
      percent: Type.Union([Type.Number(), Type.Null()]),
    }),
  ),
  halted: Type.Boolean(),
});

/** Returns null when the file does not exist. Throws `usage` for any other file, so that it is not overwritten. */
export function readRollout(path: string): RolloutFile | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new AgentError('usage', `${path} cannot be read`, { cause: error });
  }
  try {
    const value: unknown = JSON.parse(text);
    if (Value.Check(RolloutSchema, value)) return value;
  } catch {
    // Not JSON: throw below.
  }
  throw new AgentError('usage', `${path} is not a rollout file`);
}

/** Writes the file durably before it returns. */
export const writeRollout = (path: string, file: RolloutFile): void =>
  replaceFile(path, `${JSON.stringify(file, null, 2)}\n`);
