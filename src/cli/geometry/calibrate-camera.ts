import { writeFileSync } from 'node:fs';
import { AgentError } from '../../base/errors.ts';
import { fitPose } from '../../geometry/fit-pose.ts';
import { parseLensFile, toPoseFile, type ImageSize } from '../../geometry/pose-file.ts';
import type { ControlPoint } from '../../geometry/types.ts';
import { parseCsv } from '../csv.ts';
import { line, warn, type Line } from '../line.ts';
import { readOptionFile } from '../options.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';

export interface CalibrateCameraOptions {
  /** JSON file of the lens model. */
  readonly lens?: string;
  /** `WIDTHxHEIGHT` of the image in which the points were measured, pixels. */
  readonly size?: string;
  readonly out?: string;
  readonly json?: boolean;
}

const COLUMNS = ['x', 'y', 'z', 'u', 'v'] as const;
/** A residual of more pixels is marked: a point that was measured with care is nearer. */
const LARGE_RESIDUAL_PX = 5;

/** `calibrate-camera GCP.csv`: finds the position and direction of the camera from control points. */
export function runCalibrateCamera(
  path: string,
  options: CalibrateCameraOptions,
  terminal: Terminal,
): Promise<number> {
  const points = parseControlPoints(readOptionFile('control points', path));
  const size = options.size === undefined ? null : parseSize(options.size);
  const lens = options.lens === undefined ? size : parseLensFile(readOptionFile('lens', options.lens));
  if (!lens) throw new AgentError('usage', 'without --lens, --size WIDTHxHEIGHT of the image is needed');
  const fit = fitPose(points, lens);
  const file = toPoseFile(points, fit, size);
  if (options.out !== undefined) writePose(options.out, file);
  const { pose, residuals, rmsPx, maxPx, isAmbiguous } = fit;
  const report = (): readonly Line[] => [
    `position   x ${fixed(pose.position[0], 2)}  y ${fixed(pose.position[1], 2)}  z ${fixed(pose.position[2], 2)} m`,
    `direction  azimuth ${fixed(pose.azimuthDeg, 2)}, tilt ${fixed(pose.tiltDeg, 2)} below the horizon, roll ${fixed(pose.rollDeg, 2)} degrees`,
    `residuals  ${fixed(rmsPx, 1)} px (root mean square), ${fixed(maxPx, 1)} px at most`,
    ...points.map(({ name }, index) => {
      const [du = 0, dv = 0] = residuals[index] ?? [];
      const text = `  ${name}  ${fixed(du, 1)}, ${fixed(dv, 1)} px`;
      return Math.hypot(du, dv) > LARGE_RESIDUAL_PX ? line`${warn(text)}  measure this point again` : text;
    }),
    ...(isAmbiguous
      ? [warn('another position fits about as well: add points, or points that lie higher')]
      : []),
    ...(size
      ? []
      : [warn('add --size WIDTHxHEIGHT, so that the pose can be used for images of another size')]),
  ];
  terminal.out(options.json === true ? toJson(file) : report());
  return Promise.resolve(EXIT.ok);
}

function parseControlPoints(text: string): readonly ControlPoint[] {
  const { columns, rows } = parseCsv(text, (at, why) => {
    throw new AgentError('usage', `line ${String(at)} of the control points: ${why}`);
  });
  const missing = COLUMNS.filter((name) => !columns.has(name));
  if (missing.length > 0)
    throw new AgentError('usage', `the control points have no column ${missing.join(', ')}`);
  return rows.map(({ cell, line: at }, index) => {
    const [x, y, z, u, v] = COLUMNS.map((name) => {
      const value = cell(name) === '' ? NaN : Number(cell(name));
      if (Number.isFinite(value)) return value;
      throw new AgentError('usage', `line ${String(at)} of the control points: ${name} is no number`);
    }) as [number, number, number, number, number];
    return { name: cell('point') || String(index + 1), world: [x, y, z], pixel: [u, v] };
  });
}

function parseSize(text: string): ImageSize {
  const [, width = 0, height = 0] = (/^(\d{1,5})x(\d{1,5})$/.exec(text) ?? []).map(Number);
  if (width === 0 || height === 0) throw new AgentError('usage', `--size must be WIDTHxHEIGHT, not ${text}`);
  return { width, height };
}

function writePose(path: string, file: object): void {
  try {
    writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`);
  } catch (cause) {
    throw new AgentError('usage', `${path} cannot be written`, { cause });
  }
}

/** With a fixed number of digits, and without the sign of a negative zero. */
const fixed = (value: number, digits: number): string => Number(value.toFixed(digits)).toFixed(digits);
