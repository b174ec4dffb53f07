import { encode } from 'jpeg-js';
import type { Picture } from './draw-sea.ts';

/** The picture as a baseline JPEG; `quality` 1..100. */
export function encodeJpeg(picture: Picture, quality = 82): Uint8Array {
  const { widthPx, heightPx, rgb } = picture;
  const rgba = new Uint8Array(widthPx * heightPx * 4);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    rgba[to] = rgb[from] ?? 0;
    rgba[to + 1] = rgb[from + 1] ?? 0;
    rgba[to + 2] = rgb[from + 2] ?? 0;
  }
  return encode({ width: widthPx, height: heightPx, data: rgba }, quality).data;
}
