import { Type, type Static } from '@sinclair/typebox';
import { AgentError } from '../base/errors.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import type { PoseFit } from './fit-pose.ts';
import type { ControlPoint, Lens, Pose } from './types.ts';

const Positive = Type.Number({ exclusiveMinimum: 0 });
const LensFile = Type.Object({
  camera_matrix: Type.Tuple([
    Type.Tuple([Positive, Type.Number(), Type.Number()]),
    Type.Tuple([Type.Number(), Positive, Type.Number()]),
    Type.Tuple([Type.Number(), Type.Number(), Type.Number()]),
  ]),
  distortion_coefficients: Type.Optional(Type.Array(Type.Number(), { maxItems: 5 })),
});

const Image = Type.Object({
  width: Type.Integer({ minimum: 1, maximum: 100_000 }),
  height: Type.Integer({ minimum: 1, maximum: 100_000 }),
});

const PoseFile = Type.Object({
  schema: Type.Literal('swellsight.pose/1'),
  position_m: Type.Tuple([Type.Number(), Type.Number(), Type.Number()]),
  azimuth_deg: Type.Number(),
  tilt_deg: Type.Number({ minimum: -90, maximum: 90 }),
  roll_deg: Type.Number(),
  lens: LensFile,
  /** Size of the image in whose pixels the lens is given; null when it was not stated. */
  image: Type.Union([Image, Type.Null()]),
  residual_px: Type.Object({ rms: Type.Number(), max: Type.Number() }),
  ambiguous: Type.Boolean(),
  points: Type.Array(Type.Object({ point: Type.String(), du: Type.Number(), dv: Type.Number() })),
});
type PoseFile = Static<typeof PoseFile>;

const ajv = schemaChecker({ strict: false });
const isLensFile = ajv.compile<Static<typeof LensFile>>(LensFile);
const isPoseFile = ajv.compile<PoseFile>(PoseFile);

export type ImageSize = Static<typeof Image>;

/** What `calibrate-camera` writes: the pose, and how well it fits its points. */
export const toPoseFile = (
  points: readonly ControlPoint[],
  { pose, lens, residuals, rmsPx, maxPx, isAmbiguous }: PoseFit,
  image: ImageSize | null,
): PoseFile => ({
  schema: 'swellsight.pose/1',
  position_m: [rounded(pose.position[0], 3), rounded(pose.position[1], 3), rounded(pose.position[2], 3)],
  azimuth_deg: rounded(pose.azimuthDeg, 4),
  tilt_deg: rounded(pose.tiltDeg, 4),
  roll_deg: rounded(pose.rollDeg, 4),
  lens: {
    camera_matrix: [
      [lens.fx, 0, lens.cx],
      [0, lens.fy, lens.cy],
      [0, 0, 1],
    ],
    distortion_coefficients: [...lens.distortion],
  },
  image,
  residual_px: { rms: rounded(rmsPx, 2), max: rounded(maxPx, 2) },
  ambiguous: isAmbiguous,
  points: points.map(({ name }, index) => {
    const [du = 0, dv = 0] = residuals[index] ?? [];
    return { point: name, du: rounded(du, 2), dv: rounded(dv, 2) };
  }),
});

/** Reads a file of `calibrate-camera`. Throws `pose_unusable`. */
export function parsePoseFile(text: string): {
  readonly pose: Pose;
  readonly lens: Lens;
  readonly image: ImageSize | null;
} {
  const file = parseJson(text, 'file of the pose');
  if (!isPoseFile(file)) throw invalid('file of the pose', isPoseFile.errors?.[0]?.instancePath);
  const { position_m, azimuth_deg, tilt_deg, roll_deg, lens, image } = file;
  return {
    pose: { position: position_m, azimuthDeg: azimuth_deg, tiltDeg: tilt_deg, rollDeg: roll_deg },
    lens: toLens(lens),
    image,
  };
}

/** Reads the lens model that calibration with OpenCV gives: `camera_matrix` and `distortion_coefficients`. Throws `pose_unusable`. */
export function parseLensFile(text: string): Lens {
  const file = parseJson(text, 'file of the lens');
  if (!isLensFile(file)) throw invalid('file of the lens', isLensFile.errors?.[0]?.instancePath);
  return toLens(file);
}

function toLens({
  camera_matrix: [[fx, , cx], [, fy, cy]],
  distortion_coefficients = [],
}: Static<typeof LensFile>): Lens {
  const [k1 = 0, k2 = 0, p1 = 0, p2 = 0, k3 = 0] = distortion_coefficients;
  return { fx, fy, cx, cy, distortion: [k1, k2, p1, p2, k3] };
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new AgentError('pose_unusable', `the ${what} is no JSON`, { cause });
  }
}

const invalid = (what: string, path = ''): AgentError =>
  new AgentError('pose_unusable', `the ${what} is invalid${path === '' ? '' : ` at ${path}`}`);

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));
