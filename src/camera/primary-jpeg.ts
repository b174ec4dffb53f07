const SOS = 0xda;
const EOI = 0xd9;
const APP2 = 0xe2;
/** SOF0 to SOF15 without DHT, JPG and DAC, which lie in the same range: ITU-T T.81, table B.1. */
const isFrameHeader = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;

/** An index of more images than this is damaged. */
const MAX_IMAGES = 64;

interface JpegHeader {
  /** Width times height; 0 when it is not known. */
  readonly areaPx: number;
  /** Number of images in the file, this one included, as its multi-picture index (MPF) states; 1 without an index. */
  readonly images: number;
}

/**
 * Tells the images that a camera takes from those that it attaches to them: a multi-picture file (MPF, CIPA DC-007), an
 * Ultra HDR photograph or an image with a preview has other JPEGs behind its primary one. An image is an attachment when
 * the index of the primary image counts it, or when it is smaller than the primary image.
 */
export class PrimaryJpegs {
  #primary: JpegHeader = { areaPx: 0, images: 1 };
  #attachments = 0;

  /**
   * True for a primary image.
   *
   * @param follows the image comes right after the one before, in the same answer of the camera
   */
  accepts(jpeg: Buffer, follows: boolean): boolean {
    const header = readHeader(jpeg);
    const isCounted = this.#attachments < this.#primary.images - 1;
    if (follows && (isCounted || header.areaPx < this.#primary.areaPx)) {
      this.#attachments += 1;
      return false;
    }
    this.#primary = header;
    this.#attachments = 0;
    return true;
  }
}

function readHeader(jpeg: Buffer): JpegHeader {
  let areaPx = 0;
  let images = 1;
  for (let at = 2; at + 4 <= jpeg.length && jpeg[at] === 0xff;) {
    const marker = jpeg[at + 1] ?? 0;
    if (marker === 0xff) {
      at += 1; // fill byte
      continue;
    }
    if (marker === SOS || marker === EOI) break;
    const end = at + 2 + jpeg.readUInt16BE(at + 2);
    const segment = jpeg.subarray(at + 4, end);
    if (isFrameHeader(marker) && segment.length >= 5)
      areaPx = segment.readUInt16BE(1) * segment.readUInt16BE(3);
    if (marker === APP2) images = Math.max(images, readImageCount(segment));
    at = end;
  }
  return { areaPx, images };
}

/** The number of images in an MP index (CIPA DC-007, section 5.2.3.2); 1 when the segment is none. */
function readImageCount(segment: Buffer): number {
  if (segment.toString('latin1', 0, 4) !== 'MPF\0') return 1;
  const index = segment.subarray(4);
  if (index.length < 10) return 1;
  const isLittleEndian = index.toString('latin1', 0, 2) === 'II';
  const uint16 = (at: number): number => (isLittleEndian ? index.readUInt16LE(at) : index.readUInt16BE(at));
  const uint32 = (at: number): number => (isLittleEndian ? index.readUInt32LE(at) : index.readUInt32BE(at));
  const directory = uint32(4);
  if (directory + 2 > index.length) return 1;
  for (let entry = 0; entry < uint16(directory); entry += 1) {
    const at = directory + 2 + 12 * entry;
    if (at + 12 > index.length) break;
    const isImageCount = uint16(at) === 0xb001;
    if (isImageCount) return uint32(at + 8) <= MAX_IMAGES ? uint32(at + 8) : 1;
  }
  return 1;
}
