import { chmodSync, mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerOptions } from './container.ts';
import { FRAMES } from './emulation.ts';
import { runTool } from './run-tool.ts';

/** A camera that plays a film in H.264 with sound, made by the ffmpeg of this machine; the ffmpeg of the image decodes it. */
export function filmCamera(cache: string): Required<Pick<ContainerOptions, 'mounts' | 'environment'>> {
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, 'film-'));
  // The user of the image reads it.
  chmodSync(directory, 0o755);
  runTool('ffmpeg', [
    ...['-v', 'error', '-y', '-loop', '1', '-i', join(FRAMES, 'sea-big.jpg'), '-f', 'lavfi', '-i', 'sine'],
    // Moving noise, so that the picture is not frozen.
    ...['-t', '20', '-r', '10', '-vf', 'scale=1280:720,noise=alls=12:allf=t', '-pix_fmt', 'yuv420p'],
    join(directory, 'film.mp4'),
  ]);
  const camera = {
    id: 'film',
    kind: 'video',
    path: '/film/film.mp4',
    replay: 'loop',
    schedule: { everyS: 3 },
  };
  return {
    mounts: { [directory]: '/film' },
    environment: { SWELLSIGHT_CAMERAS: JSON.stringify([camera]) },
  };
}
