import type { CommandArgs } from '../../contract/command.ts';
import type { ImageResult } from '../../contract/command-results.ts';
import type { AgentApi } from '../../contract/api.ts';
import type { CameraView } from '../../contract/openapi/views.ts';
import { AgentError, ERROR_CODES, type ErrorCode } from '../../base/errors.ts';
import type { Topics } from '../topics.ts';
import type { Link } from '../types.ts';

const DEFAULT_WIDTH_PX = 640;
const MIN_WIDTH_PX = 64;
/** A slow link can transmit an image of this size within the timeout of the command. */
const MAX_IMAGE_BYTES = 262_144;
/**
 * The size of a JPEG is roughly proportional to its area. This margin avoids another attempt because of a few bytes.
 */
const SHRINK_MARGIN = 0.9;

export interface ImageDeps {
  readonly api: AgentApi;
  readonly link: Link;
  readonly topics: Topics;
}

/**
 * Publishes the newest frame of a camera as JPEG, with its masks applied, on `camera/{id}/image`. Reduces the width
 * until the link accepts the size. Throws `camera_unknown`, the error code of a camera that is down, `camera_no_frame`,
 * `mqtt_too_large`, and the errors of rendering and publishing.
 */
export async function publishImage(
  args: CommandArgs<'image'>,
  { api, link, topics }: ImageDeps,
  signal: AbortSignal,
): Promise<ImageResult> {
  const { camera, max_width_px = DEFAULT_WIDTH_PX, annotate = false } = args;
  const view = api.cameras().find(({ id }) => id === camera);
  if (!view) throw new AgentError('camera_unknown', `there is no camera ${camera}`);
  if (view.state.state === 'down') throw createDownError(view);
  const limitBytes = Math.min(MAX_IMAGE_BYTES, link.maxPayloadBytes);
  const { jpeg, widthPx } = await renderWithin(max_width_px, limitBytes, async (maxWidthPx) => {
    const image = await api.latestImage(camera, { annotate, maxWidthPx }, signal);
    return image?.jpeg ?? null;
  });
  signal.throwIfAborted();
  const topic = `camera/${camera}/image`;
  await link.publish(topic, jpeg, { qos: 0, retain: false });
  return {
    camera,
    topic: topics.absolute(topic),
    size_bytes: jpeg.length,
    max_width_px: widthPx,
    annotated: annotate,
    frame_age_s: view.state.last_frame_age_s,
  };
}

/**
 * Renders with decreasing width until the JPEG has at most `limitBytes`. Throws when `MIN_WIDTH_PX` is still too large.
 */
async function renderWithin(
  startPx: number,
  limitBytes: number,
  render: (maxWidthPx: number) => Promise<Uint8Array | null>,
): Promise<{ readonly jpeg: Uint8Array; readonly widthPx: number }> {
  for (let widthPx = startPx; ;) {
    const jpeg = await render(widthPx);
    if (!jpeg) throw new AgentError('camera_no_frame', 'this camera has no frame yet; send `capture` first');
    if (jpeg.length <= limitBytes) return { jpeg, widthPx };
    if (widthPx <= MIN_WIDTH_PX)
      throw new AgentError('mqtt_too_large', 'even the smallest image exceeds the limit of this link', {
        context: { size_bytes: jpeg.length, limit_bytes: limitBytes },
      });
    const smallerPx = Math.floor(widthPx * Math.sqrt(limitBytes / jpeg.length) * SHRINK_MARGIN);
    widthPx = Math.max(MIN_WIDTH_PX, smallerPx);
  }
}

/** The error instead of an image while a camera is down: its newest frame is old and would look like a current one. */
function createDownError({ id, state, failure = null }: CameraView): AgentError {
  const { reason, since } = state;
  const code =
    reason !== null && Object.hasOwn(ERROR_CODES, reason) ? (reason as ErrorCode) : 'camera_no_frame';
  const message = `camera ${id} is down since ${since}`;
  return failure?.code === code
    ? new AgentError(code, `${message}: ${failure.message}`, { hint: failure.hint })
    : new AgentError(code, message);
}
