import { Type, type Static, type TSchema } from '@sinclair/typebox';
import { Nullable } from '../../contract/nullable.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { INSTALL_PHASES } from '../../contract/model.ts';
import { schemaChecker, type ErrorObject } from '../../base/schema-checker.ts';
import type { SlotsState } from '../types.ts';

/*
 * Keys that are not named here are let pass: a newer agent may have written them, and an agent that was set back must
 * not lose its model over them. What is named must be there and of its kind.
 */

const Digest = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' });
const Text = Type.String();
const Millis = Type.Number();
const Count = Type.Integer({ minimum: 0 });
/** One of another version may be unknown here and is still told as it stands. */
const Code = Type.Unsafe<ErrorCode>(Type.String({ pattern: '^[a-z0-9_]{1,64}$' }));

const ref = { name: Text, version: Text, digest: Digest };
const Slot = Type.Object({ ...ref, trusted: Type.Boolean() });

const Source = Type.Union([
  Type.Object({ kind: Type.Literal('repository') }),
  Type.Object({ kind: Type.Literal('mqtt'), sizeBytes: Count, digest: Text }),
]);

const Forecast = Type.Object({
  camera: Text,
  labels: Count,
  outcome: Type.Union([
    Type.Literal('kept'),
    Type.Literal('refitted'),
    Type.Literal('lost'),
    Type.Literal('none'),
  ]),
  refittedLabels: Count,
  looMaeBeforeM: Nullable(Type.Number()),
  looMaeAfterM: Nullable(Type.Number()),
});

const Shadow = Type.Object({
  frames: Count,
  failures: Count,
  activeP50Ms: Nullable(Type.Number()),
  candidateP50Ms: Nullable(Type.Number()),
  heightMeanDifferenceM: Nullable(Type.Number()),
  heightMaxDifferenceM: Nullable(Type.Number()),
  directionDiffers01: Nullable(Type.Number()),
  breakingDiffers01: Nullable(Type.Number()),
  calibrations: Type.Array(Forecast),
});

const Install = Type.Object({
  updateId: Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$' }),
  name: Text,
  version: Text,
  digest: Nullable(Text),
  source: Source,
  phase: Type.Union(INSTALL_PHASES.map((phase) => Type.Literal(phase))),
  reason: Nullable(Type.Object({ code: Code, message: Text })),
  startedAtMs: Millis,
  phaseAtMs: Millis,
  bytes: Count,
  totalBytes: Nullable(Count),
  candidate: Nullable(Type.Object(ref)),
  trusted: Type.Boolean(),
  shadow: Nullable(Shadow),
  probation: Nullable(
    Type.Object({
      answers: Count,
      failures: Count,
      failedStarts: Count,
      elapsedMs: Type.Optional(Type.Number({ minimum: 0 })),
      formerErrorRate01: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    }),
  ),
  attempts: Type.Optional(Count),
  former: Type.Optional(Nullable(Type.Object({ active: Nullable(Slot), previous: Nullable(Slot) }))),
});

const Slots = Type.Object({
  format: Type.Literal(1),
  active: Nullable(Slot),
  previous: Nullable(Slot),
  candidate: Nullable(Slot),
  install: Nullable(Install),
  refused: Type.Array(Type.Object({ ...ref, code: Code, atMs: Millis }), { maxItems: 1000 }),
});

const ajv = schemaChecker({ strict: true });
const check = ajv.compile<Static<typeof Slots>>(Slots satisfies TSchema);

/** The value as slots, or the first place where it is none. */
export function asSlots(value: unknown): { readonly slots: SlotsState } | { readonly fault: string } {
  if (check(value)) return { slots: value };
  return { fault: describe(check.errors?.[0]) };
}

const describe = (error: ErrorObject | undefined): string =>
  `${error?.instancePath.slice(1) || 'the file'} ${error?.message ?? 'is wrong'}`;
