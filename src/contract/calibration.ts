import { Type, type Static } from '@sinclair/typebox';
import { Nullable, StringEnum, closed } from './schema-parts.ts';
import { CalibrationSummary, ModelRef } from './observation.ts';

const Base64 = (maxLength: number) =>
  Type.String({
    pattern: '^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$',
    maxLength,
  });
const Time = Type.String({
  pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
  description: 'ISO 8601 UTC with milliseconds',
});
const Sha256 = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' });

export const CalibrationLabel = Type.Object(
  {
    observation_id: Type.String({ minLength: 1, maxLength: 128 }),
    height_m: Type.Number({ minimum: 0, maximum: 25, description: "a person's reading, metres" }),
    observer: Nullable(Type.String({ maxLength: 200 })),
    note: Nullable(Type.String({ maxLength: 2000 })),
    height: Type.Optional(
      Type.Number({ minimum: 0, maximum: 85, description: 'what the person said, in `unit` and `scale`' }),
    ),
    unit: Type.Optional(StringEnum(['m', 'ft'])),
    scale: Type.Optional(StringEnum(['face', 'hawaiian'])),
    tide_m: Type.Optional(
      Type.Number({ minimum: -20, maximum: 20, description: 'the tide at that time, metres' }),
    ),
    created_at: Time,
    captured_at: Type.Optional(Time),
    group: Type.String({
      minLength: 1,
      maxLength: 128,
      description: 'labels of one group are never split by a validation',
    }),
    embedding: Type.Unsafe<string>({
      ...Base64(120_000),
      description: 'mean embedding of the burst: base64 of little-endian float32',
    }),
    view: Nullable(
      Type.Object(
        {
          width: Type.Integer({ minimum: 16, maximum: 640 }),
          height: Type.Integer({ minimum: 9, maximum: 360 }),
          luma: Type.Unsafe<string>({ ...Base64(320_000), description: 'base64 of row-major bytes' }),
        },
        { ...closed, description: 'small grey image of the masked frame' },
      ),
    ),
  },
  closed,
);
export type CalibrationLabel = Static<typeof CalibrationLabel>;

/** Labels of one camera, in a form that another device with the same camera and model can import. */
export const CalibrationDocument = Type.Object(
  {
    schema: Type.Literal('swellsight.calibration/1'),
    camera: Type.String({ minLength: 1, maxLength: 64 }),
    created_at: Time,
    embedding_digest: Type.String({
      minLength: 1,
      maxLength: 128,
      description:
        'digest of the model stages that made the embeddings; embeddings of other stages cannot be compared',
    }),
    model: Nullable(ModelRef),
    dimension: Type.Integer({ minimum: 1, maximum: 20_000, description: 'values in an embedding' }),
    summary: CalibrationSummary,
    interval_coverage: Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1, description: 'nominal' }),
    labels: Type.Array(CalibrationLabel, { maxItems: 1000, description: 'oldest first' }),
    digest: Type.Unsafe<string>({
      ...Sha256,
      description: 'digest of the labels: detects damage, not forgery',
    }),
  },
  { ...closed, $id: 'swellsight.calibration/1', title: 'Calibration' },
);
export type CalibrationDocument = Static<typeof CalibrationDocument>;
