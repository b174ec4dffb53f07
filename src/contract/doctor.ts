import { Type, type Static } from '@sinclair/typebox';
import { Nullable, StringEnum, Time, closed } from './schema-parts.ts';

const DoctorFinding = Type.Object(
  {
    check: Type.String({ description: 'the checked part, such as `disk` or `camera north`; docs/doctor.md' }),
    state: StringEnum(['ok', 'warn', 'fail']),
    detail: Type.String(),
    mend: Nullable(Type.String({ description: 'how to fix it; null for `ok`' })),
  },
  closed,
);

/** The body of `GET /api/v1/doctor`. */
export const DoctorReport = Type.Object(
  {
    ok: Type.Boolean({ description: 'false if a check failed' }),
    at: Time,
    checks: Type.Array(DoctorFinding),
  },
  { ...closed, title: 'DoctorReport' },
);
export type DoctorReport = Static<typeof DoctorReport>;
