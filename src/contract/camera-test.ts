import { Type, type Static } from '@sinclair/typebox';
import { AnyErrorCode, Nullable, closed } from './schema-parts.ts';

export const CameraTestRequest = Type.Object(
  {
    camera: Type.Record(Type.String(), Type.Unknown(), {
      description:
        'a camera as in a patch of `config.set`: of a configured camera, only what differs is needed',
    }),
  },
  { ...closed, title: 'CameraTestRequest' },
);

/** The outcome of `POST /api/v1/cameras/test`. */
export const CameraTestResult = Type.Object(
  {
    ok: Type.Boolean({ description: 'true if the camera delivered a frame that can be decoded' }),
    took_ms: Type.Integer({ minimum: 0 }),
    width_px: Nullable(Type.Integer({ minimum: 1, description: 'of the frame, not of `image`' })),
    height_px: Nullable(Type.Integer({ minimum: 1 })),
    image: Nullable(
      Type.String({
        description: 'the frame with privacy masks: a data URL of a JPEG, at most 1280 px wide',
      }),
    ),
    problem: Nullable(
      Type.Object(
        {
          code: AnyErrorCode,
          title: Type.String({ description: 'what the code means' }),
          detail: Type.String(),
          remedy: Type.String(),
        },
        closed,
      ),
    ),
    notes: Type.Array(Type.String({ description: 'what a person should know about this frame' })),
  },
  { ...closed, title: 'CameraTestResult' },
);
export type CameraTestResult = Static<typeof CameraTestResult>;
