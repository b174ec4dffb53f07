import sharp, { type Metadata } from 'sharp';
import { AgentError } from '../../base/errors.ts';
import { jpegDamage01, plainJpegSize } from './jpeg-scan.ts';
import type { Picture, Size } from './picture.ts';

/** More pixels than this are refused from the header alone: 50 MP decode to 150 MB. */
const MAX_PIXELS = 50_000_000;
/** What a decoder may hold of an image that it cannot read in strips: interlaced, progressive, or WebP. */
const MAX_HELD_BYTES = 160_000_000;
/** A larger JPEG is looked at closely before it is decoded: it may be progressive. */
const CLOSELY_ABOVE_PIXELS = 16_000_000;

/** libjpeg's words for entropy-coded data that ran out or made no sense. */
const DAMAGE_WARNING = /premature end of data|bad Huffman|arithmetic/i;
/** How much is lost is not told; some is. */
const MIN_DAMAGE = 0.02;

type Format = 'jpeg' | 'png' | 'webp';

const ascii = (bytes: Uint8Array, from: number, to: number): string =>
  String.fromCharCode(...bytes.subarray(from, to));

/** The format by its first bytes, whatever a name or content type says. */
export function sniff(bytes: Uint8Array): Format | null {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'jpeg';
  if (bytes[0] === 0x89 && ascii(bytes, 1, 8) === 'PNG\r\n\x1a\n') return 'png';
  if (ascii(bytes, 0, 4) === 'RIFF' && ascii(bytes, 8, 12) === 'WEBP') return 'webp';
  return null;
}

/** What the header tells; nothing is decoded yet. */
export interface ImageHeader {
  readonly format: Format;
  /** Upright size, after EXIF orientation. */
  readonly size: Size;
  readonly rotated: boolean;
  readonly hasAlpha: boolean;
}

/**
 * Reads the header of JPEG, PNG or WebP bytes.
 * Throws `image_empty`, `image_unsupported`, `image_corrupt`, or `image_too_large` above 50 megapixels, and above fewer
 * for an image that is decoded as a whole (26 for a progressive JPEG in colours, 40 for WebP).
 */
export async function readHeader(bytes: Uint8Array): Promise<ImageHeader> {
  if (bytes.length === 0) throw new AgentError('image_empty', 'the image has no bytes');
  const format = sniff(bytes);
  if (format === null) throw new AgentError('image_unsupported', 'the bytes are not JPEG, PNG or WebP');
  const plain = format === 'jpeg' ? plainJpegSize(bytes) : null;
  const header =
    plain === null || plain.width * plain.height > CLOSELY_ABOVE_PIXELS
      ? await fullHeader(bytes, format)
      : { format, size: plain, rotated: false, hasAlpha: false };
  const { width, height } = header.size;
  if (width * height > MAX_PIXELS) {
    const megapixels = Math.round((width * height) / 1e6);
    throw new AgentError('image_too_large', `the image has ${megapixels} megapixels, at most 50 are taken`, {
      context: { widthPx: width, heightPx: height },
    });
  }
  return header;
}

async function fullHeader(bytes: Uint8Array, format: Format): Promise<ImageHeader> {
  const metadata = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch((cause: unknown) => {
      throw new AgentError('image_corrupt', `the ${format} header cannot be read`, { cause });
    });
  const heldBytes = bytesHeld(format, metadata);
  if (heldBytes > MAX_HELD_BYTES)
    throw new AgentError(
      'image_too_large',
      `this kind of ${format} is decoded as a whole and is too large for that`,
      {
        context: { heldBytes },
      },
    );
  return {
    format,
    size: metadata.autoOrient,
    rotated: (metadata.orientation ?? 1) > 1,
    hasAlpha: metadata.hasAlpha,
  };
}

/** Measured for 49 megapixels: 140 MB for an interlaced PNG, 280 for a progressive JPEG, 390 for 16 bits and alpha. */
function bytesHeld(format: Format, { width, height, channels, depth, isProgressive }: Metadata): number {
  const pixels = width * height;
  if (format === 'webp') return 4 * pixels;
  if (!isProgressive) return 0;
  // A progressive JPEG's coefficients take two bytes each.
  return pixels * channels * (format === 'jpeg' || depth === 'ushort' ? 2 : 1);
}

interface Raw {
  readonly data: Uint8Array;
  readonly info: { readonly channels: number };
}

export interface Decoded extends Picture {
  /** Share of the file behind the first structural fault of a JPEG's data; 0 for a sound one. */
  readonly brokenBytes01: number;
}

/**
 * Decodes once, upright, as 8-bit sRGB without alpha (over black), at the size wanted but never enlarged. JPEG and
 * WebP are scaled inside the decoder, so that a small picture of a big frame costs a fraction of a full decode.
 * Width and height may be scaled differently: `source` keeps the true aspect ratio.
 * Throws as `readHeader`, and `image_corrupt` for truncated data.
 */
export async function decode(bytes: Uint8Array, header: ImageHeader, wanted: Size): Promise<Decoded> {
  const width = Math.min(header.size.width, Math.ceil(wanted.width));
  const height = Math.min(header.size.height, Math.ceil(wanted.height));
  const options = { limitInputPixels: MAX_PIXELS, autoOrient: header.rotated };
  const scale = (failOn: 'warning' | 'truncated'): Promise<Raw> => {
    let image = sharp(bytes, { ...options, failOn }).resize(width, height, { fit: 'fill' });
    if (header.hasAlpha) image = image.flatten({ background: '#000' });
    return image.toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  };
  let brokenBytes01 = 0;
  const scaling = scale('warning');
  // The file's structure is looked over while another thread decodes it.
  const damage01 = header.format === 'jpeg' ? jpegDamage01(bytes) : 0;
  // Many cameras write padding that the decoder warns of; data that it could not make sense of is damage.
  const { data, info } = await scaling
    .catch((warning: unknown) => {
      if (DAMAGE_WARNING.test(String(warning))) brokenBytes01 = MIN_DAMAGE;
      return scale('truncated');
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
    brokenBytes01: header.format === 'jpeg' ? Math.max(brokenBytes01, damage01) : 0,
  };
}
