/** What the next byte is in the structure of a JPEG (ITU-T T.81, annex B). */
type State = 'seek' | 'start' | 'marker' | 'length_high' | 'length_low' | 'skip' | 'scan';

const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const PREFIX = Buffer.from([0xff, SOI]);

const isRestart = (byte: number): boolean => byte >= 0xd0 && byte <= 0xd7;
/** Markers that may follow entropy-coded data: DHT, SOS, DQT, DNL, DRI, APPn, COM. */
const mayFollowScan = (byte: number): boolean =>
  byte === 0xc4 || (byte >= SOS && byte <= 0xdd) || (byte >= 0xe0 && byte <= 0xef) || byte === 0xfe;

/**
 * Finds complete JPEGs in a byte stream: images one after the other, or the parts of a multipart body. It follows the
 * segments by their lengths, so a thumbnail inside a header does not count as an image. It skips all bytes between images
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

  constructor(options: { readonly maxBytes: number }) {
    this.#maxBytes = options.maxBytes;
  }

  /** Number of images that were dropped because they were broken, truncated, or larger than `maxBytes`. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds a chunk of the stream. Returns the images that it completes, oldest first, as copies. */
  push(chunk: Buffer): Buffer[] {
    const images: Buffer[] = [];
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
            at = next === -1 ? chunk.length : next + 1;
            this.#afterFf = next !== -1;
            break;
          }
          const byte = chunk[at++] ?? 0;
          if (byte === 0xff) break;
          this.#afterFf = false;
          if (byte === SOI) {
            if (this.#state === 'scan') this.#dropped += 1;
            this.#begin();
            from = at;
          } else if (this.#state === 'scan' && byte !== 0 && !isRestart(byte)) {
            if (byte === EOI) {
              if (keep(at)) images.push(Buffer.concat(this.#parts));
              else this.#dropped += 1;
              this.#reset();
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

  #begin(): void {
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
    this.#state = 'seek';
  }
}
