import { Type, type Static } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { readFileSync } from 'node:fs';
import { replaceFile } from '../base/atomic-file.ts';
import { AgentError } from '../base/errors.ts';

const Text = Type.String();
const PHASES = ['waiting', 'sent', 'installing', 'probation', 'committed', 'failed'] as const;
const ProgressSchema = Type.Object({
  phase: Type.Union(PHASES.map((phase) => Type.Literal(phase))),
  /** The phase of the install as the device reports it, or the error code of a failure. */
  detail: Type.Union([Text, Type.Null()]),
  percent: Type.Union([Type.Number(), Type.Null()]),
});
const RolloutSchema = Type.Object({
  format: Type.Literal(1),
  id: Text,
  subject: Type.Optional(Type.Union([Type.Literal('model'), Type.Literal('agent')])),
  name: Text,
  version: Text,
  /** The pattern that selected the devices. */
  to: Text,
  /** The devices found at the start, in the order of the rollout. */
  devices: Type.Record(Text, ProgressSchema),
  halted: Type.Boolean(),
});

export type RolloutSubject = 'model' | 'agent';

/** The progress of one device. */
export type DeviceProgress = Readonly<Static<typeof ProgressSchema>>;

/** The stored state of a rollout. With it, a second run continues instead of starting again. */
export type RolloutFile = Readonly<Static<typeof RolloutSchema>>;

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
