import { stat } from 'node:fs/promises';
import { AgentError } from '../../base/errors.ts';
import { errorCode } from '../../base/disk-errors.ts';
import type { Clip, InputOptions } from './clips.ts';
import { readFolder } from './read-folder.ts';
import { readTimestack } from './read-timestack.ts';
import { readVideo } from './read-video.ts';

/** Reads a video, a directory of frames, or a time stack, one clip after the other. Throws `usage`, `camera_*`, `image_*`. */
export async function* readInput(path: string, options: InputOptions): AsyncGenerator<Clip, void, undefined> {
  const found = await stat(path).catch((cause: unknown) => {
    const isForbidden = errorCode(cause) === 'EACCES';
    throw new AgentError('usage', isForbidden ? `${path} may not be read` : `${path} does not exist`, {
      cause,
    });
  });
  if (options.isTimestack) {
    if (found.isDirectory()) throw new AgentError('usage', '--timestack needs an image, not a directory');
    yield* readTimestack(path, options);
  } else if (found.isDirectory()) yield* readFolder(path, options);
  else yield* readVideo(path, options);
}
