import { Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { readFileSync } from 'node:fs';
import { replaceFile } from '../base/atomic-file.ts';
import { AgentError } from '../base/errors.ts';
import type { RolloutFile } from './rollout.ts';

const Text = Type.String();
const Phases = ['waiting', 'sent', 'installing', 'probation', 'committed', 'failed'] as const;
const File = Type.Object({
  format: Type.Literal(1),
  id: Text,
  name: Text,
  version: Text,
  to: Text,
  devices: Type.Record(
    Text,
    Type.Object({
      phase: Type.Union(Phases.map((phase) => Type.Literal(phase))),
      detail: Type.Union([Text, Type.Null()]),
      percent: Type.Union([Type.Number(), Type.Null()]),
    }),
  ),
  halted: Type.Boolean(),
});

/** Null when there is none. Throws `usage` for a file that is no rollout: it is not written over. */
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
    if (Value.Check(File, value)) return value;
  } catch {
    // Said below.
  }
  throw new AgentError('usage', `${path} is no rollout`);
}

/** On the disk when it returns. */
export const saveRollout = (path: string, file: RolloutFile): void =>
  replaceFile(path, `${JSON.stringify(file, null, 2)}\n`);
