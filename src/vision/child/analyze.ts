import { decode, readHeader } from './decode.ts';
import { readHeads } from './heads.ts';
import { applyPrivacyMasks, boundingBox, coverage, withinRegion } from './mask.ts';
import type { Picture, Size } from './picture.ts';
import { WHOLE } from './picture.ts';
import { fitPixels } from './preprocess.ts';
import { encodePreview, previewSize } from './preview.ts';
import type { FrameOptions, FrameResult, HeadValues } from '../protocol.ts';
import { judge } from './quality.ts';
import { GATE, measure } from './quality-signals.ts';
import type { Session } from './session.ts';
import { viewSignature } from './view-signature.ts';

/** The gate leaves out what lies this close to a mask: the painted edge is no edge of the scene. */
const GATE_MARGIN_PX = 6;

/** One frame from bytes to answer. Errors as `decode` and `Session.infer`. Calls must not overlap. */
export async function analyzeFrame(
  session: Session,
  bytes: Uint8Array,
  options: FrameOptions,
): Promise<FrameResult> {
  const startedMs = performance.now();
  const region = boundingBox(options.roi);
  const header = await readHeader(bytes);
  const wanted = largest([
    GATE,
    session.sizeWanted(header.size, region),
    ...(options.previewWidthPx === undefined ? [] : [previewSize(header.size, options.previewWidthPx)]),
  ]);
  const picture = await decode(bytes, header, wanted);
  applyPrivacyMasks(picture, options.privacyMasks);
  const decodedMs = performance.now();

  // The model's pixels are cut on another thread while this one judges the frame: the gate costs no time of its own.
  const preparing = session.prepare(withinRegion(picture, options.roi), region);
  const [{ quality, view }, prepared] = await Promise.all([judgePicture(picture, options), preparing]);
  const preparedMs = performance.now();

  let heads: HeadValues | null = null;
  if (quality.reasons.length === 0 || options.ignoreGate === true) {
    heads = readHeads(session.bundle.manifest.heads, await session.infer(prepared));
  }
  const inferredMs = performance.now();
  return {
    widthPx: header.size.width,
    heightPx: header.size.height,
    quality,
    view,
    heads,
    preview:
      options.previewWidthPx === undefined ? null : await encodePreview(picture, options.previewWidthPx),
    timingMs: {
      decode: decodedMs - startedMs,
      preprocess: preparedMs - decodedMs,
      inference: inferredMs - preparedMs,
    },
  };
}

async function judgePicture(picture: Picture & { readonly brokenBytes01: number }, options: FrameOptions) {
  const rgb = await fitPixels(picture, WHOLE, { ...GATE, fit: 'stretch' });
  const masks = options.privacyMasks;
  const masked = masks.length === 0 ? null : coverage(masks, GATE, GATE_MARGIN_PX);
  const { signals, luma } = measure({ rgb, masked, brokenBytes01: picture.brokenBytes01 });
  return { quality: judge(signals), view: viewSignature(luma) };
}

const largest = (sizes: readonly Size[]): Size => ({
  width: Math.max(...sizes.map(({ width }) => width)),
  height: Math.max(...sizes.map(({ height }) => height)),
});
