import type { Size } from './picture.ts';

/** Markers, ITU-T T.81 table B.1. */
const SOS = 0xda;
const EOI = 0xd9;
const DHT = 0xc4;
const DRI = 0xdd;

const isRestart = (marker: number): boolean => marker >= 0xd0 && marker <= 0xd7;

/** Frame headers: SOF0 to SOF15 without DHT, JPG and DAC, which stand between them. */
const isFrameHeader = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== DHT && marker !== 0xc8 && marker !== 0xcc;

const DQT = 0xdb;
const APP0 = 0xe0;
const APP1 = 0xe1;

const segmentLength = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

/**
 * Width and height from the frame header of a JPEG with three 8-bit components and no EXIF block, which has nothing
 * else to say of itself; null for any other, which the decoder's own header reader has to look at. Spares the common
 * camera frame a round trip through the thread pool.
 */
export function plainJpegSize(bytes: Uint8Array): Size | null {
  for (let at = 2; at + 10 <= bytes.length;) {
    const marker = bytes[at + 1] ?? 0;
    if (bytes[at] !== 0xff || marker === SOS || marker === EOI || marker === APP1) return null;
    if (isFrameHeader(marker)) {
      const size = { height: segmentLength(bytes, at + 5), width: segmentLength(bytes, at + 7) };
      const plain = bytes[at + 4] === 8 && bytes[at + 9] === 3;
      return plain && size.width > 0 && size.height > 0 ? size : null;
    }
    at += 2 + segmentLength(bytes, at + 2);
  }
  return null;
}

/**
 * Walks a JPEG's markers and tells the share of the bytes behind the first fault of its structure: a marker that
 * cannot stand inside entropy-coded data, or a restart marker out of turn. 0 for a sound file. The decoder hides such
 * damage at every strictness level (it fills the rest with grey or shifted colours). Damage that forms no marker by
 * chance is left to the picture test. Costs about 0.2 ms for 500 KB: it only looks at 0xFF bytes.
 * Source: ITU-T T.81, B.1.1.2 and B.2.
 */
export function jpegDamage01(bytes: Uint8Array): number {
  let at = 2;
  let restarts = false;
  while (at + 4 <= bytes.length) {
    if (bytes[at] !== 0xff) return 1 - at / bytes.length;
    const marker = bytes[at + 1] ?? 0;
    if (marker === 0xff) {
      at += 1; // fill byte
      continue;
    }
    if (marker === EOI) return 0;
    if (marker === DRI) restarts = segmentLength(bytes, at + 4) > 0;
    const scanFollows = marker === SOS;
    const next = at + 2 + segmentLength(bytes, at + 2);
    if (next > bytes.length) return 1 - at / bytes.length;
    at = next;
    if (!scanFollows) continue;
    const end = scanEnd(bytes, at, restarts);
    if (end.damaged) return 1 - end.at / bytes.length;
    at = end.at;
  }
  return 0;
}

/** The end of entropy-coded data that begins at `from`: the next marker that may follow a scan, or the first fault. */
function scanEnd(bytes: Uint8Array, from: number, restarts: boolean): { at: number; damaged: boolean } {
  let expected = 0xd0;
  for (let at = bytes.indexOf(0xff, from); at !== -1 && at + 1 < bytes.length; at = bytes.indexOf(0xff, at)) {
    const marker = bytes[at + 1] ?? 0;
    if (marker === 0xff) {
      at += 1;
    } else if (marker === 0) {
      at += 2;
    } else if (isRestart(marker)) {
      if (!restarts || marker !== expected) return { at, damaged: true };
      expected = marker === 0xd7 ? 0xd0 : marker + 1;
      at += 2;
    } else {
      const isTable = marker === DHT || marker === DRI || marker === DQT || marker >= APP0;
      return { at, damaged: !(marker === EOI || marker === SOS || isTable) };
    }
  }
  return { at: bytes.length, damaged: false };
}
