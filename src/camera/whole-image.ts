import { MAX_FRAME_BYTES, detectImageType } from './camera.ts';
import { JpegSplitter, type SplitJpeg } from './jpeg-splitter.ts';

const PNG_END = Buffer.from('49454e44ae426082', 'hex');

/** True when the bytes end with the end marker of their format, or have the length that their header states. */
export function isCompleteImage(bytes: Buffer): boolean {
  switch (detectImageType(bytes)) {
    case 'jpeg':
      return firstJpeg(bytes)?.isComplete === true;
    case 'png':
      return bytes.includes(PNG_END, Math.max(8, bytes.length - 1024));
    case 'webp':
      return bytes.length >= 12 && bytes.readUInt32LE(4) + 8 <= bytes.length;
    case null:
      return false;
  }
}

/**
 * The image of an answer or a file that holds one: of several JPEGs the first one, which is the primary image of every
 * multi-picture format. A JPEG without its end marker gets one: decoders refuse it otherwise, even if all of its pixels
 * are there. Other images are returned as they are.
 */
export const primaryImage = (bytes: Buffer): Buffer =>
  (detectImageType(bytes) === 'jpeg' ? firstJpeg(bytes)?.bytes : null) ?? bytes;

/** Null when the JPEG at the start of the bytes is broken before its image data. */
function firstJpeg(bytes: Buffer): SplitJpeg | null {
  const splitter = new JpegSplitter({ maxBytes: MAX_FRAME_BYTES });
  const jpeg = splitter.push(bytes)[0] ?? splitter.end();
  // The splitter finds the next JPEG behind a broken one. It may be an attachment.
  const startsHere = jpeg?.bytes.subarray(0, -2).equals(bytes.subarray(0, jpeg.bytes.length - 2));
  return startsHere === true ? jpeg : null;
}
