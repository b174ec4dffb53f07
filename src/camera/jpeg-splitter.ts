/** Where in the grammar of a JPEG (ITU-T T.81, annex B) the next byte stands. */
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
 * Cuts whole JPEGs out of a byte stream: pictures end to end, or the parts of a multipart body. It follows the
 * segments by their lengths, so a thumbnail inside a header does not end a picture, and whatever stands between two
 * pictures (boundaries, part headers, garbage) is passed over. Memory stays below `maxBytes` and one chunk.
 */
export class JpegSplitter {
  readonly #maxBytes: number;
  #state: State = 'seek';
  /** The byte before was 0xFF. */
  #ff = false;
  #marker = 0;
  #left = 0;
  #parts: Buffer[] = [];
  #sizeBytes = 0;
  #dropped = 0;

  constructor(options: { readonly maxBytes: number }) {
    this.#maxBytes = options.maxBytes;
  }

  /** LabelledImages that were given up: broken, cut off, or over the bound. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The pictures that this chunk completes, oldest first; each owns its bytes. */
  push(chunk: Buffer): Buffer[] {
    const pictures: Buffer[] = [];
    // Start of the unfinished picture's bytes in this chunk.
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
          if (!this.#ff) {
            const next = chunk.indexOf(0xff, at);
            at = next === -1 ? chunk.length : next + 1;
            this.#ff = next !== -1;
            break;
          }
          const byte = chunk[at++] ?? 0;
          if (byte === 0xff) break;
          this.#ff = false;
          if (byte === SOI) {
            if (this.#state === 'scan') this.#dropped += 1;
            this.#begin();
            from = at;
          } else if (this.#state === 'scan' && byte !== 0 && !isRestart(byte)) {
            if (byte === EOI) {
              if (keep(at)) pictures.push(Buffer.concat(this.#parts));
              else this.#dropped += 1;
              this.#forget();
            } else if (mayFollowScan(byte)) this.#enterSegment(byte);
            else this.#giveUp();
          }
          break;
        }
        case 'start':
          // A picture's SOI is followed by a marker; anything else was chance.
          if (chunk[at] === 0xff) this.#state = 'marker';
          else this.#forget();
          break;
        case 'marker': {
          const byte = chunk[at++] ?? 0;
          if (!this.#ff) {
            this.#ff = byte === 0xff;
            if (!this.#ff) this.#giveUp();
          } else if (byte !== 0xff) {
            this.#ff = false;
            if (byte === SOI) {
              this.#dropped += 1;
              this.#begin();
              from = at;
            } else if (byte === 0 || byte === EOI) this.#giveUp();
            else if (byte !== 0x01 && !isRestart(byte)) this.#enterSegment(byte);
          }
          break;
        }
        case 'length_high':
          this.#left = (chunk[at++] ?? 0) << 8;
          this.#state = 'length_low';
          break;
        case 'length_low':
          this.#left += (chunk[at++] ?? 0) - 2;
          if (this.#left < 0) this.#giveUp();
          else this.#state = 'skip';
          if (this.#left === 0) this.#leaveSegment();
          break;
        case 'skip': {
          const step = Math.min(this.#left, chunk.length - at);
          at += step;
          this.#left -= step;
          if (this.#left === 0) this.#leaveSegment();
          break;
        }
      }
    }
    if (this.#state !== 'seek' && !keep(chunk.length)) this.#giveUp();
    return pictures;
  }

  #begin(): void {
    this.#parts = [PREFIX];
    this.#sizeBytes = PREFIX.length;
    this.#ff = false;
    this.#state = 'start';
  }

  #enterSegment(marker: number): void {
    this.#marker = marker;
    this.#state = 'length_high';
  }

  #leaveSegment(): void {
    this.#state = this.#marker === SOS ? 'scan' : 'marker';
    this.#ff = false;
  }

  #giveUp(): void {
    this.#dropped += 1;
    this.#forget();
  }

  #forget(): void {
    this.#parts = [];
    this.#sizeBytes = 0;
    this.#ff = false;
    this.#state = 'seek';
  }
}
