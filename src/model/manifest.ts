import { Type, type Static } from '@sinclair/typebox';
import { closed } from '../contract/schema-parts.ts';

const Name = Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,63}$' });
const FileName = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$',
  description: 'a file name in the bundle, without a directory',
});
/** The largest number of values of an embedding: the bound of what one frame may send to the control process. */
export const MAX_EMBEDDING_VALUES = 65_536;

/** `stage.output`. */
const OutputRef = Type.String({ pattern: '^[a-z0-9_]{1,32}\\.[A-Za-z0-9_:./-]{1,128}$' });

export const StageInput = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 128 }),
    from: Type.Union(
      [
        Type.Literal('frame'),
        OutputRef,
        Type.Array(Type.Union([Type.Literal('frame'), OutputRef]), { minItems: 1, maxItems: 4 }),
      ],
      {
        description: '"frame", another stage\'s output, or a list of them, joined on the channel axis',
      },
    ),
    layout: Type.Union([Type.Literal('NHWC'), Type.Literal('NCHW')]),
    dtype: Type.Union([Type.Literal('uint8'), Type.Literal('float32'), Type.Literal('float16')]),
    width: Type.Integer({ minimum: 1, maximum: 4096 }),
    height: Type.Integer({ minimum: 1, maximum: 4096 }),
    color: Type.Union([Type.Literal('rgb'), Type.Literal('bgr'), Type.Literal('gray')]),
    fit: Type.Union([Type.Literal('stretch'), Type.Literal('cover'), Type.Literal('contain')]),
    mean: Type.Optional(
      Type.Array(Type.Number(), {
        minItems: 1,
        maxItems: 4,
        description:
          'after scale: one value for all channels, or one for each in order; channels beyond the list are not changed',
      }),
    ),
    std: Type.Optional(
      Type.Array(Type.Number({ exclusiveMinimum: 0 }), { minItems: 1, maxItems: 4, description: 'see mean' }),
    ),
    scale: Type.Optional(
      Type.Number({ description: 'factor for the 0..255 value; value = (pixel * scale - mean) / std' }),
    ),
  },
  closed,
);
export type StageInput = Static<typeof StageInput>;

export const Stage = Type.Object(
  {
    id: Type.String({ pattern: '^[a-z0-9_]{1,32}$' }),
    file: FileName,
    inputs: Type.Array(StageInput, { minItems: 1, maxItems: 8 }),
    outputs: Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { minItems: 1, maxItems: 32 }),
  },
  closed,
);
export type Stage = Static<typeof Stage>;

const ClassHead = Type.Object(
  {
    output: OutputRef,
    labels: Type.Array(Type.String({ minLength: 1, maxLength: 32 }), {
      minItems: 2,
      maxItems: 32,
      uniqueItems: true,
    }),
    activation: Type.Union([Type.Literal('softmax'), Type.Literal('sigmoid'), Type.Literal('none')]),
    temperature: Type.Optional(Type.Number({ minimum: 0.001, maximum: 1000 })),
  },
  closed,
);
export type ClassHead = Static<typeof ClassHead>;

export const Manifest = Type.Object(
  {
    format: Type.Literal(1),
    name: Name,
    version: Type.String({
      pattern: '^\\d+\\.\\d+\\.\\d+(-[0-9A-Za-z.-]+)?(\\+[0-9A-Za-z.-]+)?$',
      description: 'semver',
    }),
    description: Type.String({ maxLength: 1000 }),
    license: Type.String({ minLength: 1, maxLength: 200, description: 'SPDX expression' }),
    stages: Type.Array(Stage, { minItems: 1, maxItems: 8, description: 'run in order' }),
    heads: Type.Object(
      {
        wave_height: Type.Optional(
          Type.Object(
            {
              output: OutputRef,
              unit: Type.Literal('m'),
              low: Type.Optional(OutputRef),
              high: Type.Optional(OutputRef),
              coverage: Type.Optional(Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1 })),
            },
            closed,
          ),
        ),
        wave_direction: Type.Optional(ClassHead),
        breaking_type: Type.Optional(ClassHead),
        embedding: Type.Optional(
          Type.Object(
            {
              output: OutputRef,
              values: Type.Optional(
                Type.Integer({
                  minimum: 1,
                  maximum: MAX_EMBEDDING_VALUES,
                  description: 'number of values of the output; without it, any number up to the maximum',
                }),
              ),
            },
            closed,
          ),
        ),
        depth: Type.Optional(Type.Object({ output: OutputRef }, closed)),
        quality: Type.Optional(
          Type.Object(
            {
              output: OutputRef,
              labels: Type.Array(Type.String({ maxLength: 64 }), { minItems: 1, maxItems: 32 }),
            },
            closed,
          ),
        ),
      },
      { ...closed, minProperties: 1 },
    ),
    golden: Type.Array(
      Type.Object(
        {
          image: Type.String({ pattern: '^golden/[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' }),
          expect: Type.Record(OutputRef, Type.Array(Type.Number(), { minItems: 1, maxItems: 8192 }), {
            description: 'expected values by output; of a longer output only the first values are compared',
          }),
          tolerance: Type.Number({ exclusiveMinimum: 0, description: 'largest absolute difference' }),
          labels: Type.Optional(
            Type.Object(
              { wave_direction: Type.Optional(Type.String()), breaking_type: Type.Optional(Type.String()) },
              {
                ...closed,
                description: 'expected labels of the class heads; checks the order of the labels',
              },
            ),
          ),
        },
        closed,
      ),
      { minItems: 1, maxItems: 16 },
    ),
    files: Type.Optional(
      Type.Record(Type.String(), Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }), {
        description: 'digest of every other file of the bundle',
      }),
    ),
    requires: Type.Object(
      {
        agent: Type.String({ description: 'semver range, such as >=0.1.0' }),
        providers: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
        hardware: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
        memory_mb: Type.Optional(Type.Integer({ minimum: 1 })),
      },
      closed,
    ),
  },
  closed,
);
/** A bundle's `model.json`: docs/model-bundle.md. */
export type Manifest = Static<typeof Manifest>;

/** A bundle whose manifest and digests have been checked. */
export interface Bundle {
  /** Absolute path. */
  readonly dir: string;
  readonly manifest: Manifest;
  /** `sha256:…` over every file, model.json included: see `bundleDigest`. */
  readonly digest: string;
  /**
   * Digest of the weights and inputs of the stages that lead to the embedding head. Embeddings of bundles with the same
   * digest are comparable, so a calibration belongs to one such digest. Null for a bundle without an embedding head.
   */
  readonly embeddingDigest: string | null;
}
