import { MAX_FRAME_BYTES, detectImageType } from './camera.ts';
import { JpegSplitter } from './jpeg-splitter.ts';

const PNG_END = Buffer.from('49454e44ae426082', 'hex');

/** True when the bytes end with the end marker of their format, or have the length that their header states. */
export function isCompleteImage(bytes: Buffer): boolean {
  switch (detectImageType(bytes)) {
    case 'jpeg':
      return new JpegSplitter({ maxBytes: MAX_FRAME_BYTES }).push(bytes).length > 0;
    case 'png':
      return bytes.includes(PNG_END, Math.max(8, bytes.length - 1024));
    case 'webp':
      return bytes.length >= 12 && bytes.readUInt32LE(4) + 8 <= bytes.length;
    case null:
      return false;
  }
}
