import { drawCaption, drawOutline } from './annotate.ts';
import { encodePreview, previewSize } from './preview.ts';
import { decode, readHeader } from './decode.ts';
import { applyPrivacyMasks } from './mask.ts';
import type { RenderOptions } from '../protocol.ts';

/** A JPEG of the frame: privacy masks painted first, then the region's outline and the caption. Errors as `decode`. */
export async function renderFrame(bytes: Uint8Array, options: RenderOptions): Promise<Uint8Array> {
  const header = await readHeader(bytes);
  const picture = await decode(bytes, header, previewSize(header.size, options.maxWidthPx));
  applyPrivacyMasks(picture, options.privacyMasks);
  if (options.roi !== null) drawOutline(picture, options.roi);
  drawCaption(picture, options.lines);
  return encodePreview(picture, options.maxWidthPx);
}
