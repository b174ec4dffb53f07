import sharp from 'sharp';
import { AgentError } from '../../base/errors.ts';
import type {
  FrameOptions,
  FrameResult,
  ColumnOptions,
  GreyColumns,
  GreyPicture,
  HeadValues,
  RenderOptions,
  ShrinkOptions,
  ShrunkFrame,
  ViewSignature,
} from '../protocol.ts';
import { drawCaption, drawOutline } from './annotate.ts';
import {
  coveringSize,
  decodeImage,
  readImageHeader,
  type DecodedImage,
  type RgbImage,
  type Size,
} from './decode.ts';
import { readHeads } from './heads.ts';
import {
  applyPrivacyMasks,
  boundingBox,
  fitPixels,
  paintOutsideRegion,
  rasterize,
  WHOLE_FRAME,
} from './preprocess.ts';
import { GATE_SIZE, judgeQuality, measureQuality } from './quality.ts';
import type { Session } from './session.ts';

/** The quality gate ignores pixels this close to a mask, because the edge of a mask is not an edge of the scene. */
const GATE_MASK_MARGIN_PX = 6;
const PREVIEW_JPEG_QUALITY = 80;
/** A larger share of damage spoils the picture of a clip, 0..1: the limit of the quality gate. */
const MAX_DAMAGE01 = 0.01;
/** Frames wider than this are reduced before columns are taken, pixels. */
const MAX_COLUMNS_FRAME_PX = 1920;
const COLUMN_PARTS = 320;
/** Size of a view signature, pixels. */
const VIEW_WIDTH = 160;
const VIEW_HEIGHT = 90;

/** Analyzes one frame. Errors as `decodeImage` and `Session.infer`. Calls must not overlap. */
export async function analyzeFrame(
  session: Session,
  bytes: Uint8Array,
  options: FrameOptions,
): Promise<FrameResult> {
  const startedMs = performance.now();
  const region = boundingBox(options.roi);
  const header = await readImageHeader(bytes);
  const image = await decodeImage(
    bytes,
    header,
    coveringSize([
      GATE_SIZE,
      session.decodeSize(header.size, region),
      ...(options.previewWidthPx === undefined ? [] : [previewSize(header.size, options.previewWidthPx)]),
    ]),
  );
  applyPrivacyMasks(image, options.privacyMasks);
  const decodedMs = performance.now();

  // Other threads scale the pixels for the model while this thread runs the quality gate, so the gate adds no latency.
  const preparing = session.prepare(paintOutsideRegion(image, options.roi), region);
  const [{ quality, view }, prepared] = await Promise.all([runGate(image, options), preparing]);
  const preparedMs = performance.now();

  let heads: HeadValues | null = null;
  if (quality.reasons.length === 0 || options.ignoreGate === true) {
    heads = readHeads(session.bundle.manifest.heads, await session.infer(prepared));
  }
  const inferredMs = performance.now();
  return {
    widthPx: header.size.width,
    heightPx: header.size.height,
    quality,
    view,
    heads,
    preview: options.previewWidthPx === undefined ? null : await encodeJpeg(image, options.previewWidthPx),
    timingMs: {
      decode: decodedMs - startedMs,
      preprocess: preparedMs - decodedMs,
      inference: inferredMs - preparedMs,
    },
  };
}

/**
 * Encodes the frame as a JPEG: paints privacy masks, then draws the outline of the region and the caption. Errors as
 * `decodeImage`.
 */
export async function renderFrame(bytes: Uint8Array, options: RenderOptions): Promise<Uint8Array> {
  const header = await readImageHeader(bytes);
  const image = await decodeImage(bytes, header, previewSize(header.size, options.maxWidthPx));
  applyPrivacyMasks(image, options.privacyMasks);
  if (options.roi !== null) drawOutline(image, options.roi);
  drawCaption(image, options.lines);
  return encodeJpeg(image, options.maxWidthPx);
}

/**
 * Makes a small grey picture: paints privacy masks first. Errors as `decodeImage`; `image_corrupt` also for a damaged JPEG,
 * whose missing part would look like a movement.
 */
export async function shrinkFrame(bytes: Uint8Array, options: ShrinkOptions): Promise<ShrunkFrame> {
  const header = await readImageHeader(bytes);
  const { width, height } = header.size;
  const shorter = Math.min(1, width / height);
  const size = previewSize(header.size, options.maxSidePx * shorter);
  // Columns have the full height of the frame.
  const decoded = options.columns ? previewSize(header.size, MAX_COLUMNS_FRAME_PX) : size;
  const image = await decodeImage(bytes, header, decoded);
  if (image.brokenBytes01 > MAX_DAMAGE01)
    throw new AgentError('image_corrupt', 'a part of the frame is damaged', {
      context: { share: image.brokenBytes01 },
    });
  applyPrivacyMasks(image, options.privacyMasks);
  const grey = { luma: lumaOf(image), width: image.width, height: image.height };
  if (!options.columns) return { ...grey, columns: null };
  return { ...reduceGrey(grey, size), columns: columnsOf(grey, image.source, options.columns) };
}

/** Means over whole pixels. */
function reduceGrey({ luma, width, height }: GreyPicture, size: Size): GreyPicture {
  const columns = binEdges(width, size.width);
  const rows = binEdges(height, size.height);
  const means = new Uint8Array(size.width * size.height);
  for (let row = 0; row < size.height; row += 1)
    for (let column = 0; column < size.width; column += 1) {
      let [sum, count] = [0, 0];
      for (let y = rows[row] ?? 0; y < (rows[row + 1] ?? 0); y += 1)
        for (let x = columns[column] ?? 0; x < (columns[column + 1] ?? 0); x += 1) {
          sum += luma[y * width + x] ?? 0;
          count += 1;
        }
      means[row * size.width + column] = Math.round(sum / Math.max(1, count));
    }
  return { luma: means, ...size };
}

/** The middle of each of `count` equal parts of the width, 1/320 of it wide: wider ones blur crests that run obliquely. */
function columnsOf(
  { luma, width, height }: GreyPicture,
  frame: Size,
  { count, from01 }: ColumnOptions,
): GreyColumns {
  const from = Math.min(height - 1, Math.max(0, Math.floor(from01 * height)));
  const strip = Math.max(1, Math.round(width / COLUMN_PARTS));
  const columns = new Uint8Array(count * (height - from));
  for (let column = 0; column < count; column += 1) {
    const left = Math.min(
      width - strip,
      Math.max(0, Math.round(((column + 0.5) * width) / count - strip / 2)),
    );
    for (let y = from; y < height; y += 1) {
      let sum = 0;
      for (let x = left; x < left + strip; x += 1) sum += luma[y * width + x] ?? 0;
      columns[(y - from) * count + column] = Math.round(sum / strip);
    }
  }
  return {
    ...{ luma: columns, width: count, height: height - from },
    firstRow: (from * frame.height) / height,
    frameWidth: frame.width,
    frameHeight: frame.height,
  };
}

/** ITU-R BT.601 luma. */
function lumaOf({ data, width, height }: RgbImage): Uint8Array {
  const luma = new Uint8Array(width * height);
  for (let i = 0, p = 0; i < luma.length; i++, p += 3)
    luma[i] = (77 * (data[p] ?? 0) + 150 * (data[p + 1] ?? 0) + 29 * (data[p + 2] ?? 0)) >> 8;
  return luma;
}

async function runGate(image: DecodedImage, { privacyMasks }: FrameOptions) {
  const rgb = await fitPixels(image, WHOLE_FRAME, { ...GATE_SIZE, fit: 'stretch' });
  const masked = privacyMasks.length === 0 ? null : rasterize(privacyMasks, GATE_SIZE, GATE_MASK_MARGIN_PX);
  const { signals, luma } = measureQuality({ rgb, masked, brokenBytes01: image.brokenBytes01 });
  return { quality: judgeQuality(signals), view: viewSignature(luma) };
}

/** The whole frame, at most `maxWidthPx` wide, in its true aspect ratio, never enlarged. */
function previewSize(source: Size, maxWidthPx: number): Size {
  const scale = Math.min(1, maxWidthPx / source.width);
  return {
    width: Math.max(1, Math.round(source.width * scale)),
    height: Math.max(1, Math.round(source.height * scale)),
  };
}

async function encodeJpeg(image: RgbImage, maxWidthPx: number): Promise<Uint8Array> {
  const { width, height } = previewSize(image.source, maxWidthPx);
  return sharp(image.data, { raw: { width: image.width, height: image.height, channels: 3 } })
    .resize(width, height, { fit: 'fill' })
    .jpeg({ quality: PREVIEW_JPEG_QUALITY })
    .toBuffer();
}

/** Start of each of `bins` bins along an axis of `length` pixels, and the end of the last bin. */
const binEdges = (length: number, bins: number): Uint16Array =>
  Uint16Array.from({ length: bins + 1 }, (_, bin) => Math.ceil((bin * length) / bins));

/** Reduces the 512x288 luma of a masked frame to 160x90 means over whole pixels, three or four in each direction. */
export function viewSignature(luma: Uint8Array): ViewSignature {
  const columns = binEdges(GATE_SIZE.width, VIEW_WIDTH);
  const rows = binEdges(GATE_SIZE.height, VIEW_HEIGHT);
  const means = new Uint8Array(VIEW_WIDTH * VIEW_HEIGHT);
  const sums = new Uint16Array(VIEW_WIDTH);
  for (let row = 0; row < VIEW_HEIGHT; row++) {
    const top = rows[row] ?? 0;
    const bottom = rows[row + 1] ?? 0;
    sums.fill(0);
    for (let y = top; y < bottom; y++) {
      let i = y * GATE_SIZE.width;
      for (let column = 0; column < VIEW_WIDTH; column++) {
        let sum = sums[column] ?? 0;
        for (const end = y * GATE_SIZE.width + (columns[column + 1] ?? 0); i < end; i++) sum += luma[i] ?? 0;
        sums[column] = sum;
      }
    }
    for (let column = 0; column < VIEW_WIDTH; column++) {
      const pixels = (bottom - top) * ((columns[column + 1] ?? 0) - (columns[column] ?? 0));
      means[row * VIEW_WIDTH + column] = Math.round((sums[column] ?? 0) / pixels);
    }
  }
  return { luma: means, width: VIEW_WIDTH, height: VIEW_HEIGHT };
}
