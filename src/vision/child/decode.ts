import sharp, { type Metadata } from 'sharp';
import { AgentError } from '../../base/errors.ts';
import { jpegScanWork } from './jpeg-scans.ts';

/** Width and height, pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The smallest size that is at least as wide and as high as each of `sizes`. */
export const coveringSize = (sizes: readonly Size[]): Size => ({
  width: Math.max(...sizes.map(({ width }) => width)),
  height: Math.max(...sizes.map(({ height }) => height)),
});

/** Interleaved 8-bit RGB, row-major, no padding: `data.length === width * height * 3`. */
export interface RgbImage extends Size {
  readonly data: Uint8Array;
  /** Size of the whole upright image before scaling, pixels; it has the true aspect ratio. */
  readonly source: Size;
}

export interface DecodedImage extends RgbImage {
  /** Share of the file after the first structural fault of a JPEG, 0..1; 0 for an intact file. */
  readonly brokenBytes01: number;
}

/** Images with more pixels are refused after reading only the header: 50 megapixels decode to 150 MB. */
const MAX_PIXELS = 50_000_000;
/** Memory limit for an image that the decoder cannot read in strips (interlaced, progressive, WebP), bytes. */
const MAX_WHOLE_IMAGE_BYTES = 160_000_000;
/** For a JPEG above this size the decoder reads the header, because the JPEG may be progressive. */
const MAX_PLAIN_JPEG_PIXELS = 16_000_000;

/**
 * Limit of the scans of a JPEG, in blocks of 8x8 coefficients. A progressive JPEG has about ten scans; with three components
 * at the largest size that `MAX_WHOLE_IMAGE_BYTES` allows they visit 6 million blocks. Measured: 12 to 40 ns for an empty block.
 */
const MAX_SCAN_BLOCKS = 14_000_000;

/** Warnings of libjpeg about entropy-coded data that is missing or invalid. */
const DAMAGE_WARNING = /premature end of data|bad Huffman|arithmetic/i;
/** libjpeg does not report how much is lost: assume this share of the file, 0..1. It is above the gate's limit of 0.01. */
const REPORTED_DAMAGE01 = 0.02;

type Format = 'jpeg' | 'png' | 'webp';

const ascii = (bytes: Uint8Array, from: number, to: number): string =>
  String.fromCharCode(...bytes.subarray(from, to));

/** Finds the format of an image by its first bytes, because file names and content types may be wrong. */
export function sniffFormat(bytes: Uint8Array): Format | null {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'jpeg';
  if (bytes[0] === 0x89 && ascii(bytes, 1, 8) === 'PNG\r\n\x1a\n') return 'png';
  if (ascii(bytes, 0, 4) === 'RIFF' && ascii(bytes, 8, 12) === 'WEBP') return 'webp';
  return null;
}

/** Header fields of an image that is not decoded yet. */
export interface ImageHeader {
  readonly format: Format;
  /** Upright size, after EXIF orientation. */
  readonly size: Size;
  readonly isRotated: boolean;
  readonly hasAlpha: boolean;
}

/**
 * Reads the header of JPEG, PNG or WebP bytes.
 * Throws `image_empty`, `image_unsupported`, `image_corrupt`, or `image_too_large` above 50 megapixels. The limit is
 * lower for an image that must be decoded as a whole: 26 megapixels for a progressive colour JPEG, 40 for WebP. A JPEG with
 * far more scans than usual for its size is `image_too_large` too.
 */
export async function readImageHeader(bytes: Uint8Array): Promise<ImageHeader> {
  if (bytes.length === 0) throw new AgentError('image_empty', 'the image has no bytes');
  const format = sniffFormat(bytes);
  if (format === null) throw new AgentError('image_unsupported', 'the bytes are not JPEG, PNG or WebP');
  const plainSize = format === 'jpeg' ? plainJpegSize(bytes) : null;
  const header =
    plainSize === null || plainSize.width * plainSize.height > MAX_PLAIN_JPEG_PIXELS
      ? await readFullHeader(bytes, format)
      : { format, size: plainSize, isRotated: false, hasAlpha: false };
  const { width, height } = header.size;
  if (width * height > MAX_PIXELS) {
    const megapixels = Math.round((width * height) / 1e6);
    throw new AgentError('image_too_large', `the image has ${megapixels} megapixels, the limit is 50`, {
      context: { widthPx: width, heightPx: height },
    });
  }
  if (format === 'jpeg' && jpegScanWork(bytes) > MAX_SCAN_BLOCKS)
    throw new AgentError('image_too_large', 'the JPEG has too many scans for its size', {
      context: { widthPx: width, heightPx: height },
    });
  return header;
}

async function readFullHeader(bytes: Uint8Array, format: Format): Promise<ImageHeader> {
  const metadata = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch((cause: unknown) => {
      throw new AgentError('image_corrupt', `the ${format} header cannot be read`, { cause });
    });
  const heldBytes = wholeImageBytes(format, metadata);
  if (heldBytes > MAX_WHOLE_IMAGE_BYTES)
    throw new AgentError(
      'image_too_large',
      `this kind of ${format} must be decoded as a whole and is too large for that`,
      { context: { heldBytes } },
    );
  return {
    format,
    size: metadata.autoOrient,
    isRotated: (metadata.orientation ?? 1) > 1,
    hasAlpha: metadata.hasAlpha,
  };
}

/**
 * Memory that the decoder holds for the whole image, bytes; 0 if it reads in strips. Measured for 49 megapixels:
 * 140 MB for an interlaced PNG, 280 MB for a progressive JPEG, 390 MB for an interlaced PNG with 16 bits and alpha.
 */
function wholeImageBytes(
  format: Format,
  { width, height, channels, depth, isProgressive }: Metadata,
): number {
  const pixels = width * height;
  if (format === 'webp') return 4 * pixels;
  if (!isProgressive) return 0;
  // A coefficient of a progressive JPEG takes two bytes.
  return pixels * channels * (format === 'jpeg' || depth === 'ushort' ? 2 : 1);
}

interface RawImage {
  readonly data: Uint8Array;
  readonly info: { readonly channels: number };
}

/**
 * Decodes once, upright, to 8-bit sRGB, at the `wanted` size but never enlarged. Transparent pixels become black. JPEG
 * and WebP are scaled inside the decoder, so a small copy of a large frame costs a fraction of a full decode.
 * Width and height may be scaled by different factors; `source` keeps the true aspect ratio.
 * Throws as `readImageHeader`, and `image_corrupt` for truncated data.
 */
export async function decodeImage(
  bytes: Uint8Array,
  header: ImageHeader,
  wanted: Size,
): Promise<DecodedImage> {
  const width = Math.min(header.size.width, Math.ceil(wanted.width));
  const height = Math.min(header.size.height, Math.ceil(wanted.height));
  // The limits were checked for the size in `header`: the decoder refuses an image that is larger.
  const limitInputPixels = header.size.width * header.size.height;
  const options = { limitInputPixels, autoOrient: header.isRotated };
  const decodeScaled = (failOn: 'warning' | 'truncated'): Promise<RawImage> => {
    let image = sharp(bytes, { ...options, failOn }).resize(width, height, { fit: 'fill' });
    if (header.hasAlpha) image = image.flatten({ background: '#000' });
    return image.toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  };
  let reportedDamage01 = 0;
  const decoding = decodeScaled('warning');
  // Check the file's structure on this thread while another thread decodes.
  const structuralDamage01 = header.format === 'jpeg' ? jpegDamage01(bytes) : 0;
  const { data, info } = await decoding
    .catch((warning: unknown) => {
      // Many cameras write padding, which also causes a warning. Only invalid image data counts as damage.
      if (DAMAGE_WARNING.test(String(warning))) reportedDamage01 = REPORTED_DAMAGE01;
      return decodeScaled('truncated');
    })
    .catch((cause: unknown) => {
      throw new AgentError('image_corrupt', `the ${header.format} data are truncated or damaged`, { cause });
    });
  if (info.channels !== 3) {
    throw new AgentError('image_corrupt', `the ${header.format} decodes to ${info.channels} channels`);
  }
  return {
    data,
    width,
    height,
    source: header.size,
    brokenBytes01: header.format === 'jpeg' ? Math.max(reportedDamage01, structuralDamage01) : 0,
  };
}

/** JPEG markers, ITU-T T.81 table B.1. */
const SOS = 0xda;
const EOI = 0xd9;
const DHT = 0xc4;
const DRI = 0xdd;
const DQT = 0xdb;
const RST0 = 0xd0;
const RST7 = 0xd7;
const APP0 = 0xe0;
const APP1 = 0xe1;
const APP15 = 0xef;
const COM = 0xfe;

const readUint16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

/** Baseline, extended and progressive frames with Huffman codes: the frames that the decoder reads. */
const isPlainFrame = (marker: number): boolean => marker >= 0xc0 && marker <= 0xc2;
const isTableOrNote = (marker: number): boolean =>
  marker === DHT || marker === DQT || marker === DRI || marker === COM || (marker >= APP0 && marker <= APP15);
const COMPONENTS = 3;
/** Length, precision, height, width and number of components, then three bytes for each component. */
const FRAME_HEADER_BYTES = 8 + 3 * COMPONENTS;

/**
 * Size from the frame header of a JPEG with three 8-bit components and no EXIF block; null for any other JPEG, which
 * needs the decoder's header reader. This saves the usual camera frame a round trip through the thread pool.
 *
 * Null also for every structure that the decoder may read in another way: fill bytes, bytes between segments, markers
 * without a length, lengths that do not fit.
 */
export function plainJpegSize(bytes: Uint8Array): Size | null {
  for (let at = 2; at + 2 + FRAME_HEADER_BYTES <= bytes.length;) {
    const marker = bytes[at + 1] ?? 0;
    const length = readUint16(bytes, at + 2);
    if (bytes[at] !== 0xff || length < 2) return null;
    if (isPlainFrame(marker)) {
      const size = { height: readUint16(bytes, at + 5), width: readUint16(bytes, at + 7) };
      const isPlain = length === FRAME_HEADER_BYTES && bytes[at + 4] === 8 && bytes[at + 9] === COMPONENTS;
      return isPlain && size.width > 0 && size.height > 0 ? size : null;
    }
    if (!isTableOrNote(marker) || marker === APP1) return null;
    at += 2 + length;
  }
  return null;
}

/**
 * Share of a JPEG's bytes after its first structural fault, 0..1; 0 for an intact file. A fault is a marker that must
 * not occur in entropy-coded data, or a restart marker out of order. The decoder hides such damage at every strictness
 * level: it fills the rest with grey or with shifted colours. Damage that does not produce a marker is left to the
 * quality gate. Reads only the 0xFF bytes: about 0.2 ms for 500 KB.
 * Source: ITU-T T.81, B.1.1.2 and B.2.
 */
export function jpegDamage01(bytes: Uint8Array): number {
  let at = 2;
  let hasRestarts = false;
  while (at + 4 <= bytes.length) {
    if (bytes[at] !== 0xff) return 1 - at / bytes.length;
    const marker = bytes[at + 1] ?? 0;
    if (marker === 0xff) {
      at += 1; // fill byte
      continue;
    }
    if (marker === EOI) return 0;
    if (marker === DRI) hasRestarts = readUint16(bytes, at + 4) > 0;
    const next = at + 2 + readUint16(bytes, at + 2);
    if (next > bytes.length) return 1 - at / bytes.length;
    at = next;
    if (marker !== SOS) continue;
    const scan = findScanEnd(bytes, at, hasRestarts);
    if (scan.isDamaged) return 1 - scan.end / bytes.length;
    at = scan.end;
  }
  return 0;
}

/** Finds the end of the entropy-coded data at `from`: the next marker that may follow a scan, or the first fault. */
function findScanEnd(
  bytes: Uint8Array,
  from: number,
  hasRestarts: boolean,
): { end: number; isDamaged: boolean } {
  let nextRestart = RST0;
  for (let at = bytes.indexOf(0xff, from); at !== -1 && at + 1 < bytes.length; at = bytes.indexOf(0xff, at)) {
    const marker = bytes[at + 1] ?? 0;
    if (marker === 0xff) {
      at += 1;
    } else if (marker === 0) {
      at += 2;
    } else if (marker >= RST0 && marker <= RST7) {
      if (!hasRestarts || marker !== nextRestart) return { end: at, isDamaged: true };
      nextRestart = marker === RST7 ? RST0 : marker + 1;
      at += 2;
    } else {
      const isTable = marker === DHT || marker === DRI || marker === DQT || marker >= APP0;
      return { end: at, isDamaged: !(marker === EOI || marker === SOS || isTable) };
    }
  }
  return { end: bytes.length, isDamaged: false };
}
