import { JpegSplitter } from './jpeg-splitter.ts';

export type ImageType = 'jpeg' | 'png' | 'webp';

/** The most bytes that any camera may hand over as one picture. */
export const MAX_IMAGE_BYTES = 32 * 1024 * 1024;

const PNG_START = Buffer.from('89504e470d0a1a0a', 'hex');
const PNG_END = Buffer.from('49454e44ae426082', 'hex');

/** The format by its first bytes, never by a name or a header; null when it is none that the vision part reads. */
export function imageType(bytes: Buffer): ImageType | null {
  if (bytes.length >= 3 && bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'jpeg';
  if (bytes.subarray(0, 8).equals(PNG_START)) return 'png';
  if (bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP') return 'webp';
  return null;
}

/** True when the file reaches its own end mark, as far as the container's structure tells. */
export function isWholeImage(bytes: Buffer): boolean {
  switch (imageType(bytes)) {
    case 'jpeg':
      return new JpegSplitter({ maxBytes: MAX_IMAGE_BYTES }).push(bytes).length > 0;
    case 'png':
      return bytes.includes(PNG_END, Math.max(8, bytes.length - 1024));
    case 'webp':
      return bytes.length >= 12 && bytes.readUInt32LE(4) + 8 <= bytes.length;
    case null:
      return false;
  }
}
