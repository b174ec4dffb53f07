import sharp from 'sharp';
import type { Picture, Size } from './picture.ts';

const QUALITY = 80;

/** The whole frame at most `maxWidthPx` wide, in its true aspect ratio, never enlarged. */
export function previewSize(source: Size, maxWidthPx: number): Size {
  const scale = Math.min(1, maxWidthPx / source.width);
  return {
    width: Math.max(1, Math.round(source.width * scale)),
    height: Math.max(1, Math.round(source.height * scale)),
  };
}

/** A JPEG of an already masked picture. */
export async function encodePreview(picture: Picture, maxWidthPx: number): Promise<Uint8Array> {
  const { width, height } = previewSize(picture.source, maxWidthPx);
  return sharp(picture.data, { raw: { width: picture.width, height: picture.height, channels: 3 } })
    .resize(width, height, { fit: 'fill' })
    .jpeg({ quality: QUALITY })
    .toBuffer();
}
