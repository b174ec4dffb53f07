import sharp from 'sharp';
import { AgentError } from '../../base/errors.ts';
import type { StageInput } from '../../model/manifest.ts';
import { toHalf } from './half.ts';
import type { Box, Picture, Size } from './picture.ts';

/** What lies around a frame that is fitted with `contain`: mid grey. */
const PAD = 128;

/** Values of a tensor on their way between stages, as float32 whatever the model stores. */
export interface Values {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** Pixels cut, scaled and padded to an input's size: RGB, row-major. */
export type FittedRgb = Uint8Array;

export interface Fit {
  /** What is cut from the picture. */
  readonly crop: Box;
  /** What the cut is scaled to. */
  readonly scaled: Size;
  /** Where it lies in the input; the rest is padding. */
  readonly offset: { readonly x: number; readonly y: number };
}

/**
 * How a region of a frame lands in an input of the given size, on the frame's true aspect ratio.
 * stretch: the whole region, aspect lost. cover: centred cut that fills the input. contain: all of it, padded.
 */
export function fitRegion(source: Size, region: Box, input: Size, fit: StageInput['fit']): Fit {
  const regionW = (region.right - region.left) * source.width;
  const regionH = (region.bottom - region.top) * source.height;
  const scaleX = input.width / regionW;
  const scaleY = input.height / regionH;
  if (fit === 'stretch') return { crop: region, scaled: input, offset: { x: 0, y: 0 } };
  if (fit === 'contain') {
    const scale = Math.min(scaleX, scaleY);
    const width = Math.max(1, Math.round(regionW * scale));
    const height = Math.max(1, Math.round(regionH * scale));
    const offset = { x: (input.width - width) >> 1, y: (input.height - height) >> 1 };
    return { crop: region, scaled: { width, height }, offset };
  }
  const scale = Math.max(scaleX, scaleY);
  const cutX = (1 - input.width / (regionW * scale)) / 2;
  const cutY = (1 - input.height / (regionH * scale)) / 2;
  const spanX = region.right - region.left;
  const spanY = region.bottom - region.top;
  const crop = {
    left: region.left + cutX * spanX,
    right: region.right - cutX * spanX,
    top: region.top + cutY * spanY,
    bottom: region.bottom - cutY * spanY,
  };
  return { crop, scaled: input, offset: { x: 0, y: 0 } };
}

/** The size to which the whole frame must be decoded so that this input is not enlarged needlessly. */
export function sizeWanted(source: Size, region: Box, input: StageInput): Size {
  const { crop, scaled } = fitRegion(source, region, input, input.fit);
  return {
    width: Math.ceil(scaled.width / (crop.right - crop.left)),
    height: Math.ceil(scaled.height / (crop.bottom - crop.top)),
  };
}

/** Cuts, scales (Lanczos 3) and pads the picture for one input. The result may be the picture's own memory. */
export async function fitPixels(
  picture: Picture,
  region: Box,
  input: Size & { readonly fit: StageInput['fit'] },
): Promise<FittedRgb> {
  const { crop, scaled, offset } = fitRegion(picture.source, region, input, input.fit);
  const left = Math.min(picture.width - 1, Math.round(crop.left * picture.width));
  const top = Math.min(picture.height - 1, Math.round(crop.top * picture.height));
  const width = Math.max(1, Math.min(picture.width, Math.round(crop.right * picture.width)) - left);
  const height = Math.max(1, Math.min(picture.height, Math.round(crop.bottom * picture.height)) - top);
  const whole = width === picture.width && height === picture.height;
  if (whole && picture.width === input.width && picture.height === input.height && input.fit !== 'contain') {
    return picture.data;
  }
  let image = sharp(picture.data, { raw: { width: picture.width, height: picture.height, channels: 3 } });
  if (!whole) image = image.extract({ left, top, width, height });
  image = image.resize(scaled.width, scaled.height, { fit: 'fill' });
  const right = input.width - scaled.width - offset.x;
  const bottom = input.height - scaled.height - offset.y;
  if (right + bottom + offset.x + offset.y > 0) {
    const background = { r: PAD, g: PAD, b: PAD };
    image = image.extend({ left: offset.x, right, top: offset.y, bottom, background });
  }
  return image.raw().toBuffer();
}

/** Channels that the frame contributes to an input. */
export const frameChannels = (input: StageInput): number => (input.color === 'gray' ? 1 : 3);

/** Mean or deviation of a colour channel: one entry stands for all. */
const perChannel = (list: readonly number[] | undefined, channel: number, none: number): number =>
  (list?.length === 1 ? list[0] : list?.[channel]) ?? none;

/**
 * The planes of fitted pixels in the input's colour order, `(value * scale - mean) / std` each: plane by plane,
 * `channels * width * height` values. Grey is Rec. 601 luma, rounded.
 */
export function framePlanes(rgb: FittedRgb, input: StageInput): Float32Array {
  const count = input.width * input.height;
  const channels = frameChannels(input);
  const planes = new Float32Array(count * channels);
  const scale = input.scale ?? 1;
  for (let channel = 0; channel < channels; channel++) {
    const mean = perChannel(input.mean, channel, 0);
    const std = perChannel(input.std, channel, 1);
    const source = input.color === 'bgr' ? 2 - channel : channel;
    for (let i = 0, p = 0; i < count; i++, p += 3) {
      const value = input.color === 'gray' ? luma(rgb, p) : (rgb[p + source] ?? 0);
      planes[channel * count + i] = (value * scale - mean) / std;
    }
  }
  return planes;
}

const luma = (rgb: FittedRgb, at: number): number =>
  Math.round(0.299 * (rgb[at] ?? 0) + 0.587 * (rgb[at + 1] ?? 0) + 0.114 * (rgb[at + 2] ?? 0));

/** Width, height and channels of a map that another stage gave, and whether channels come last. */
function mapShape(dims: readonly number[]): {
  width: number;
  height: number;
  channels: number;
  last: boolean;
} {
  const [a = 1, b = 1, c = 1, d = 1] = dims;
  if (dims.length === 2) return { height: a, width: b, channels: 1, last: false };
  if (dims.length === 3 && a === 1) return { height: b, width: c, channels: 1, last: false };
  if (dims.length === 4 && a === 1 && d <= 4 && b > 4)
    return { height: b, width: c, channels: d, last: true };
  if (dims.length === 4 && a === 1) return { channels: b, height: c, width: d, last: false };
  throw new AgentError('vision_output_invalid', `an output of shape [${dims.join(', ')}] is no map`, {
    context: { dims },
  });
}

/**
 * The planes of a map output, brought to the input's size. A map is `[H,W]`, `[1,H,W]`, `[1,C,H,W]` or, when the last
 * axis has at most four entries, `[1,H,W,C]`. Another size is resized bilinearly on pixel centres (half-pixel rule:
 * `x_in = (x_out + 0.5) * in / out - 0.5`, edges clamped), as ONNX Resize with `half_pixel` does. Stages that are
 * joined should use the same `fit`: the map is stretched to the input as it is.
 */
export function mapPlanes(map: Values, size: Size): Float32Array {
  const { width, height, channels, last } = mapShape(map.dims);
  const planes = new Float32Array(channels * size.width * size.height);
  const pixelStep = last ? channels : 1;
  const planeStep = last ? 1 : width * height;
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < size.height; y++) {
      const sy = Math.min(height - 1, Math.max(0, ((y + 0.5) * height) / size.height - 0.5));
      const y0 = Math.floor(sy);
      const y1 = Math.min(height - 1, y0 + 1);
      const fy = sy - y0;
      for (let x = 0; x < size.width; x++) {
        const sx = Math.min(width - 1, Math.max(0, ((x + 0.5) * width) / size.width - 0.5));
        const x0 = Math.floor(sx);
        const x1 = Math.min(width - 1, x0 + 1);
        const fx = sx - x0;
        const value = (px: number, py: number): number =>
          map.data[c * planeStep + (py * width + px) * pixelStep] ?? 0;
        const upper = value(x0, y0) * (1 - fx) + value(x1, y0) * fx;
        const lower = value(x0, y1) * (1 - fx) + value(x1, y1) * fx;
        planes[at++] = upper * (1 - fy) + lower * fy;
      }
    }
  }
  return planes;
}

/** Stores planes in the input's layout and type; uint8 rounds and clamps to 0..255. */
export function packPlanes(
  planes: Float32Array,
  channels: number,
  input: StageInput,
): Float32Array | Uint8Array | Uint16Array {
  const ordered = input.layout === 'NHWC' && channels > 1 ? interleave(planes, channels) : planes;
  if (input.dtype === 'float32') return ordered;
  if (input.dtype === 'float16') return toHalf(ordered);
  return new Uint8Array(Uint8ClampedArray.from(ordered).buffer);
}

function interleave(planes: Float32Array, channels: number): Float32Array {
  const count = planes.length / channels;
  const ordered = new Float32Array(planes.length);
  for (let channel = 0; channel < channels; channel++) {
    for (let i = 0, to = channel; i < count; i++, to += channels)
      ordered[to] = planes[channel * count + i] ?? 0;
  }
  return ordered;
}

/** True when fitted pixels are the tensor as they stand, so that nothing need be copied. */
export const isPlainRgb = (input: StageInput): boolean =>
  input.dtype === 'uint8' &&
  input.layout === 'NHWC' &&
  input.color === 'rgb' &&
  input.mean === undefined &&
  input.std === undefined &&
  (input.scale ?? 1) === 1;
