import { AgentError } from '../base/errors.ts';
import { CameraView } from './camera-view.ts';
import type { parsePoseFile, ImageSize } from './pose-file.ts';

/** Largest difference of the shapes of two images that count as the same, as a share of width over height. */
const MAX_SHAPE_DIFFERENCE = 0.02;

/**
 * The view of a pose in the pixels of an image that was scaled. Throws `pose_unusable` when the pose does not state the size of its
 * image, or when the image has another shape: then it was cropped, and its pixels are unknown.
 */
export function viewInImage(
  { pose, lens, image }: ReturnType<typeof parsePoseFile>,
  size: ImageSize,
): CameraView {
  if (!image)
    throw new AgentError(
      'pose_unusable',
      'the pose has no size of its image: run calibrate-camera with --size',
    );
  const scale = size.width / image.width;
  if (Math.abs((scale * image.height) / size.height - 1) > MAX_SHAPE_DIFFERENCE)
    throw new AgentError(
      'pose_unusable',
      `the pose is for images of ${String(image.width)}x${String(image.height)}, not for ${String(size.width)}x${String(size.height)}`,
    );
  const { fx, fy, cx, cy, distortion } = lens;
  return new CameraView({ fx: fx * scale, fy: fy * scale, cx: cx * scale, cy: cy * scale, distortion }, pose);
}
