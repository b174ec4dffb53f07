import sharp from 'sharp';
import { AgentError } from '../../base/errors.ts';
import type { Polygon } from '../../config/schema.ts';
import type { StageInput } from '../../model/manifest.ts';
import { MASK_GREY } from '../protocol.ts';
import type { RgbImage, Size } from './decode.ts';

/** Scaling mixes neighbouring pixels, so a privacy mask is painted wider than its polygon by this much. */
const MASK_MARGIN_PX = 3;

/** A part of the image in 0..1 of its sides; right and bottom exclusive. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export const WHOLE_FRAME: Box = { left: 0, top: 0, right: 1, bottom: 1 };

/**
 * Marks each pixel that a polygon touches, widened by `marginPx`: 1 for a marked pixel, row-major. The even-odd rule
 * defines the interior. A pixel that an edge only crosses is marked too: a mask must not cover too little.
 */
export function rasterize(polygons: readonly Polygon[], size: Size, marginPx: number): Uint8Array {
  const marked = new Uint8Array(size.width * size.height);
  for (const polygon of polygons) {
    for (let y = 0; y < size.height; y++) {
      for (const [from, to] of rowSpans(polygon, size, y, marginPx)) {
        const left = Math.max(0, Math.floor(from - marginPx));
        const right = Math.min(size.width, Math.ceil(to + marginPx));
        if (right > left) marked.fill(1, y * size.width + left, y * size.width + right);
      }
    }
  }
  return marked;
}

/** Spans of x, pixels, that the polygon touches in rows `y - marginPx` to `y + 1 + marginPx`. */
function* rowSpans(polygon: Polygon, size: Size, y: number, marginPx: number): Iterable<[number, number]> {
  const top = y - marginPx;
  const bottom = y + 1 + marginPx;
  const crossings: number[] = [];
  let previous = polygon[polygon.length - 1];
  for (const corner of polygon) {
    if (previous === undefined) return;
    const [x0, y0] = [previous[0] * size.width, previous[1] * size.height];
    const [x1, y1] = [corner[0] * size.width, corner[1] * size.height];
    previous = corner;
    if (y0 <= y + 0.5 !== y1 <= y + 0.5) crossings.push(x0 + ((y + 0.5 - y0) / (y1 - y0)) * (x1 - x0));
    if (Math.max(y0, y1) < top || Math.min(y0, y1) > bottom) continue;
    const at = (edgeY: number): number => {
      if (y0 === y1) return x0;
      return x0 + Math.min(1, Math.max(0, (edgeY - y0) / (y1 - y0))) * (x1 - x0);
    };
    const ends = y0 === y1 ? [x0, x1] : [at(top), at(bottom)];
    yield [Math.min(...ends), Math.max(...ends)];
  }
  crossings.sort((a, b) => a - b);
  for (let i = 0; i + 1 < crossings.length; i += 2) yield [crossings[i] ?? 0, crossings[i + 1] ?? 0];
}

/** Paints pixels whose mark equals `mark` in grey, in place. */
function paintGrey(rgb: Uint8Array, marks: Uint8Array, mark: 0 | 1): void {
  for (let i = 0, p = 0; i < marks.length; i++, p += 3) {
    if (marks[i] === mark) rgb.fill(MASK_GREY, p, p + 3);
  }
}

/** Paints privacy masks over a decoded image, in place. Call it before any other code reads the pixels. */
export function applyPrivacyMasks(image: RgbImage, masks: readonly Polygon[]): void {
  if (masks.length > 0) paintGrey(image.data, rasterize(masks, image, MASK_MARGIN_PX), 1);
}

/** The polygon's bounding box; the whole frame for null. */
export function boundingBox(polygon: Polygon | null): Box {
  if (polygon === null) return WHOLE_FRAME;
  const xs = polygon.map(([x]) => x);
  const ys = polygon.map(([, y]) => y);
  const box = {
    left: Math.min(...xs),
    top: Math.min(...ys),
    right: Math.max(...xs),
    bottom: Math.max(...ys),
  };
  return box.right > box.left && box.bottom > box.top ? box : WHOLE_FRAME;
}

/** True for a polygon that fills its bounding box. */
const isRectangle = (polygon: Polygon, box: Box): boolean =>
  polygon.length === 4 &&
  new Set(polygon.map(([x, y]) => `${x},${y}`)).size === 4 &&
  polygon.every(([x, y]) => (x === box.left || x === box.right) && (y === box.top || y === box.bottom));

/** The image for the model: grey outside the region of interest. Returns the same image if there is nothing to paint. */
export function paintOutsideRegion(image: RgbImage, roi: Polygon | null): RgbImage {
  if (roi === null || isRectangle(roi, boundingBox(roi))) return image;
  const data = image.data.slice();
  paintGrey(data, rasterize([roi], image, 0), 0);
  return { ...image, data };
}

/** Values of a tensor between two stages: always float32, even if the model uses another type. */
export interface TensorValues {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** Pixels cropped, scaled and padded to the size of an input: RGB, row-major. */
export type FittedRgb = Uint8Array;

export interface RegionFit {
  /** The part to cut out of the image. */
  readonly crop: Box;
  /** Size of the crop after scaling, pixels. */
  readonly scaled: Size;
  /** Position of the scaled crop in the input, pixels; the rest of the input is padding. */
  readonly offset: { readonly x: number; readonly y: number };
}

/**
 * Places a region of a frame in an input of the given size, from the frame's true aspect ratio. `stretch`: the whole
 * region, aspect ratio lost. `cover`: a centred crop that fills the input. `contain`: the whole region, padded.
 */
export function fitRegion(source: Size, region: Box, input: Size, fit: StageInput['fit']): RegionFit {
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
  const marginX = (1 - input.width / (regionW * scale)) / 2;
  const marginY = (1 - input.height / (regionH * scale)) / 2;
  const spanX = region.right - region.left;
  const spanY = region.bottom - region.top;
  const crop = {
    left: region.left + marginX * spanX,
    right: region.right - marginX * spanX,
    top: region.top + marginY * spanY,
    bottom: region.bottom - marginY * spanY,
  };
  return { crop, scaled: input, offset: { x: 0, y: 0 } };
}

/** The size to which the whole frame must be decoded so that scaling to this input does not enlarge it. */
export function decodeSizeFor(source: Size, region: Box, input: StageInput): Size {
  const { crop, scaled } = fitRegion(source, region, input, input.fit);
  return {
    width: Math.ceil(scaled.width / (crop.right - crop.left)),
    height: Math.ceil(scaled.height / (crop.bottom - crop.top)),
  };
}

/** Crops, scales (Lanczos 3) and pads the image for one input. The result may share the memory of the image. */
export async function fitPixels(
  image: RgbImage,
  region: Box,
  input: Size & { readonly fit: StageInput['fit'] },
): Promise<FittedRgb> {
  const { crop, scaled, offset } = fitRegion(image.source, region, input, input.fit);
  const left = Math.min(image.width - 1, Math.round(crop.left * image.width));
  const top = Math.min(image.height - 1, Math.round(crop.top * image.height));
  const width = Math.max(1, Math.min(image.width, Math.round(crop.right * image.width)) - left);
  const height = Math.max(1, Math.min(image.height, Math.round(crop.bottom * image.height)) - top);
  const isWhole = width === image.width && height === image.height;
  if (isWhole && image.width === input.width && image.height === input.height && input.fit !== 'contain') {
    return image.data;
  }
  let pipeline = sharp(image.data, { raw: { width: image.width, height: image.height, channels: 3 } });
  if (!isWhole) pipeline = pipeline.extract({ left, top, width, height });
  pipeline = pipeline.resize(scaled.width, scaled.height, { fit: 'fill' });
  const right = input.width - scaled.width - offset.x;
  const bottom = input.height - scaled.height - offset.y;
  if (right + bottom + offset.x + offset.y > 0) {
    const background = { r: MASK_GREY, g: MASK_GREY, b: MASK_GREY };
    pipeline = pipeline.extend({ left: offset.x, right, top: offset.y, bottom, background });
  }
  return pipeline.raw().toBuffer();
}

/** Number of channels that the frame contributes to an input. */
export const frameChannels = (input: StageInput): number => (input.color === 'gray' ? 1 : 3);

/** Mean or standard deviation of one colour channel. A list with one entry holds for all channels. */
const perChannel = (list: readonly number[] | undefined, channel: number, fallback: number): number =>
  (list?.length === 1 ? list[0] : list?.[channel]) ?? fallback;

/**
 * The planes of fitted pixels in the input's colour order, with `(value * scale - mean) / std` for each value: plane by
 * plane, `channels * width * height` values. Grey is Rec. 601 luma, rounded.
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

/** Width, height and channels of a map from another stage, and whether the channel axis is the last one. */
function mapShape(dims: readonly number[]) {
  const [a = 1, b = 1, c = 1, d = 1] = dims;
  if (dims.length === 2) return { height: a, width: b, channels: 1, isChannelsLast: false };
  if (dims.length === 3 && a === 1) return { height: b, width: c, channels: 1, isChannelsLast: false };
  if (dims.length === 4 && a === 1 && d <= 4 && b > 4)
    return { height: b, width: c, channels: d, isChannelsLast: true };
  if (dims.length === 4 && a === 1) return { channels: b, height: c, width: d, isChannelsLast: false };
  throw new AgentError('vision_output_invalid', `an output of shape [${dims.join(', ')}] is not a map`, {
    context: { dims },
  });
}

/**
 * The planes of a map output, resized to the input. A map is `[H,W]`, `[1,H,W]`, `[1,C,H,W]` or, if the last axis has
 * at most four entries, `[1,H,W,C]`. Resizing is bilinear on pixel centres, as in ONNX Resize with `half_pixel`:
 * `x_in = (x_out + 0.5) * in / out - 0.5`, edges clamped. Connected stages should use the same `fit`, because the map is
 * stretched to the input. Throws `vision_output_invalid` for any other shape.
 */
export function mapPlanes(map: TensorValues, size: Size): Float32Array {
  const { width, height, channels, isChannelsLast } = mapShape(map.dims);
  const planes = new Float32Array(channels * size.width * size.height);
  const pixelStep = isChannelsLast ? channels : 1;
  const planeStep = isChannelsLast ? 1 : width * height;
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

/** Stores planes in the layout and type of the input. uint8 rounds and clamps to 0..255; float16 rounds to even. */
export function packPlanes(
  planes: Float32Array,
  channels: number,
  input: StageInput,
): Float32Array | Float16Array | Uint8Array {
  const ordered = input.layout === 'NHWC' && channels > 1 ? interleave(planes, channels) : planes;
  if (input.dtype === 'float32') return ordered;
  if (input.dtype === 'float16') return new Float16Array(ordered);
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

/** True if the fitted pixels already are the tensor, so that no copy is needed. */
export const isPlainRgb = (input: StageInput): boolean =>
  input.dtype === 'uint8' &&
  input.layout === 'NHWC' &&
  input.color === 'rgb' &&
  input.mean === undefined &&
  input.std === undefined &&
  (input.scale ?? 1) === 1;
