import { Type, type Static } from '@sinclair/typebox';
import { ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { closed, Nullable, StringEnum } from '../../contract/schema-parts.ts';
import { MAX_REPORT_TEXT_CHARS } from './job.ts';

const Count = Type.Number({ minimum: 0 });
const Text = Type.String({ maxLength: MAX_REPORT_TEXT_CHARS });
const Code = StringEnum(Object.keys(ERROR_CODES) as ErrorCode[]);

const VerifiedBundle = Type.Object(
  {
    name: Text,
    version: Text,
    digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }),
    trusted: Type.Boolean(),
    expiryUnchecked: Type.Optional(Type.Literal(true)),
  },
  closed,
);
/** The bundle that a verification has stored. */
export type VerifiedBundle = Static<typeof VerifiedBundle>;

const FetchReport = Type.Union([
  Type.Object({ type: Type.Literal('alive'), rssMb: Count }, closed),
  Type.Object({ type: Type.Literal('progress'), bytes: Count, totalBytes: Nullable(Count) }, closed),
  Type.Object({ type: Type.Literal('waiting'), reason: Text, retryInMs: Count }, closed),
  Type.Object({ type: Type.Literal('done'), bundle: Nullable(VerifiedBundle) }, closed),
  Type.Object({ type: Type.Literal('failed'), code: Code, message: Text }, closed),
]);
/** A message from a fetch process to the agent. */
export type FetchReport = Static<typeof FetchReport>;

/** The fetch process has parsed untrusted data, so the agent trusts nothing that it sends. */
export const isFetchReport = schemaChecker({ strict: true }).compile<FetchReport>(FetchReport);
