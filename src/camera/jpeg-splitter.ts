/** What the next byte is in the structure of a JPEG (ITU-T T.81, annex B). */
type State = 'seek' | 'start' | 'marker' | 'length_high' | 'length_low' | 'skip' | 'scan';

const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const PREFIX = Buffer.from([0xff, SOI]);
const END = Buffer.from([0xff, EOI]);
/** Part headers after an image without an end marker are not longer than this. */
const MAX_PART_HEADER_BYTES = 1024;

const isRestart = (byte: number): boolean => byte >= 0xd0 && byte <= 0xd7;
/** Markers that may follow entropy-coded data: DHT, SOS, DQT, DNL, DRI, APPn, COM. */
const mayFollowScan = (byte: number): boolean =>
  byte === 0xc4 || (byte >= SOS && byte <= 0xdd) || (byte >= 0xe0 && byte <= 0xef) || byte === 0xfe;

/** A JPEG of a stream. */
export interface SplitJpeg {
  /** With an end marker, even if the stream has none. */
  readonly bytes: Buffer;
  /** False when the end marker is missing: the image may be cut, or its camera never writes one. */
  readonly isComplete: boolean;
  /** True when nothing but padding (0x00, 0xFF) is between this image and the one before. */
  readonly isAdjacent: boolean;
}

/**
 * Finds JPEGs in a byte stream: images one after the other, or the parts of a multipart body. It follows the segments by
 * their lengths, so a thumbnail inside a header does not count as an image. It skips all bytes between images
 * (boundaries, part headers, garbage). Memory stays below `maxBytes` plus one chunk.
 */
export class JpegSplitter {
  readonly #maxBytes: number;
  #state: State = 'seek';
  /** True when the previous byte was 0xFF. */
  #afterFf = false;
  #marker = 0;
  #segmentBytesLeft = 0;
  #parts: Buffer[] = [];
  #sizeBytes = 0;
  #dropped = 0;
  /** True when an image ended, and only padding followed. */
  #isPadding = false;
  #isAdjacent = false;

  constructor(options: { readonly maxBytes: number }) {
    this.#maxBytes = options.maxBytes;
  }

  /** Number of images that were dropped because they were broken, cut in their header, or larger than `maxBytes`. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds a chunk of the stream. Returns the images that end in it, oldest first, as copies. */
  push(chunk: Buffer): SplitJpeg[] {
    const images: SplitJpeg[] = [];
    // Where the incomplete image starts in this chunk.
    let from = 0;
    let at = 0;
    const keep = (end: number): boolean => {
      if (end > from) this.#parts.push(chunk.subarray(from, end));
      this.#sizeBytes += end - from;
      from = end;
      return this.#sizeBytes <= this.#maxBytes;
    };
    while (at < chunk.length) {
      switch (this.#state) {
        case 'seek':
        case 'scan': {
          if (!this.#afterFf) {
            const next = chunk.indexOf(0xff, at);
            const end = next === -1 ? chunk.length : next;
            if (this.#state === 'seek') this.#skip(chunk.subarray(at, end));
            at = next === -1 ? end : end + 1;
            this.#afterFf = next !== -1;
            break;
          }
          const byte = chunk[at++] ?? 0;
          if (byte === 0xff) break;
          this.#afterFf = false;
          if (byte === SOI) {
            if (this.#state === 'scan') {
              keep(at);
              const image = this.#finish(PREFIX.length);
              if (image) images.push(image);
            }
            this.#begin();
            from = at;
          } else if (this.#state === 'seek') {
            if (byte !== 0) this.#isPadding = false;
          } else if (byte !== 0 && !isRestart(byte)) {
            if (byte === EOI) {
              if (keep(at)) {
                const bytes = Buffer.concat(this.#parts);
                images.push({ bytes, isComplete: true, isAdjacent: this.#isAdjacent });
              } else this.#dropped += 1;
              this.#reset();
              this.#isPadding = true;
            } else if (mayFollowScan(byte)) this.#enterSegment(byte);
            else this.#drop();
          }
          break;
        }
        case 'start':
          // A marker always follows the SOI (start of image). Otherwise these two bytes were not an SOI.
          if (chunk[at] === 0xff) this.#state = 'marker';
          else this.#reset();
          break;
        case 'marker': {
          const byte = chunk[at++] ?? 0;
          if (!this.#afterFf) {
            this.#afterFf = byte === 0xff;
            if (!this.#afterFf) this.#drop();
          } else if (byte !== 0xff) {
            this.#afterFf = false;
            if (byte === SOI) {
              this.#dropped += 1;
              this.#begin();
              from = at;
            } else if (byte === 0 || byte === EOI) this.#drop();
            else if (byte !== 0x01 && !isRestart(byte)) this.#enterSegment(byte);
          }
          break;
        }
        case 'length_high':
          this.#segmentBytesLeft = (chunk[at++] ?? 0) << 8;
          this.#state = 'length_low';
          break;
        case 'length_low':
          this.#segmentBytesLeft += (chunk[at++] ?? 0) - 2;
          if (this.#segmentBytesLeft < 0) this.#drop();
          else this.#state = 'skip';
          if (this.#segmentBytesLeft === 0) this.#leaveSegment();
          break;
        case 'skip': {
          const step = Math.min(this.#segmentBytesLeft, chunk.length - at);
          at += step;
          this.#segmentBytesLeft -= step;
          if (this.#segmentBytesLeft === 0) this.#leaveSegment();
          break;
        }
      }
    }
    if (this.#state !== 'seek' && !keep(chunk.length)) this.#drop();
    return images;
  }

  /** The stream has ended. Returns the image whose data have begun and did not end; null when there is none. */
  end(): SplitJpeg | null {
    const image = this.#state === 'scan' ? this.#finish(0) : null;
    this.#reset();
    return image;
  }

  /**
   * Ends the current image before its last `surplusBytes`, and before the boundary of a multipart body, with the end
   * marker that it lacks. Null when it is too large.
   */
  #finish(surplusBytes: number): SplitJpeg | null {
    if (this.#sizeBytes - surplusBytes + END.length > this.#maxBytes) {
      this.#dropped += 1;
      return null;
    }
    const bytes = Buffer.concat(this.#parts);
    const data = bytes.subarray(0, bytes.length - surplusBytes);
    const tail = data.toString('latin1', Math.max(0, data.length - MAX_PART_HEADER_BYTES));
    const boundary = /\r?\n--[^\r\n]+[\r\n][^]*$/.exec(tail)?.[0] ?? '';
    return {
      bytes: Buffer.concat([data.subarray(0, data.length - boundary.length), END]),
      isComplete: false,
      isAdjacent: this.#isAdjacent,
    };
  }

  #skip(gap: Buffer): void {
    this.#isPadding &&= gap.every((byte) => byte === 0);
  }

  #begin(): void {
    this.#isAdjacent = this.#isPadding;
    this.#isPadding = false;
    this.#parts = [PREFIX];
    this.#sizeBytes = PREFIX.length;
    this.#afterFf = false;
    this.#state = 'start';
  }

  #enterSegment(marker: number): void {
    this.#marker = marker;
    this.#state = 'length_high';
  }

  #leaveSegment(): void {
    this.#state = this.#marker === SOS ? 'scan' : 'marker';
    this.#afterFf = false;
  }

  #drop(): void {
    this.#dropped += 1;
    this.#reset();
  }

  #reset(): void {
    this.#parts = [];
    this.#sizeBytes = 0;
    this.#afterFf = false;
    this.#isPadding = false;
    this.#state = 'seek';
  }
}
