import { encode } from 'jpeg-js';
import type { Picture } from './draw-sea.ts';

const QUALITY = 82;

/** Encodes pictures as baseline JPEG; keeps its input buffer, so that a stream of pictures costs no memory. */
export class JpegEncoder {
  #rgba = new Uint8Array(0);

  encode({ widthPx, heightPx, rgb }: Picture): Uint8Array {
    const sizeBytes = widthPx * heightPx * 4;
    if (this.#rgba.length !== sizeBytes) this.#rgba = new Uint8Array(sizeBytes);
    const rgba = this.#rgba;
    for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
      rgba[to] = rgb[from] ?? 0;
      rgba[to + 1] = rgb[from + 1] ?? 0;
      rgba[to + 2] = rgb[from + 2] ?? 0;
    }
    return encode({ width: widthPx, height: heightPx, data: rgba }, QUALITY).data;
  }
}

/** One picture as JPEG. */
export const encodeJpeg = (picture: Picture): Uint8Array => new JpegEncoder().encode(picture);
