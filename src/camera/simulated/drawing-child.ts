import type { DrawReply, DrawRequest } from './drawing-process.ts';
import { encodePng } from './png.ts';
import { JpegEncoder, SeaPainter } from './sea-painter.ts';

/** The child process: draws the scene of each request and replies with its image. Exits when the parent disconnects. */
const painters = new Map<number, SeaPainter>();
/** The textures of one seed need 3 MB and 0.2 s. */
const MAX_PAINTERS = 8;
const jpeg = new JpegEncoder();

process.on('message', ({ id, scene, format }: DrawRequest) => {
  const painter = painters.get(scene.seed) ?? new SeaPainter(scene.seed);
  // The seed that was drawn last is the last one of the map.
  painters.delete(scene.seed);
  painters.set(scene.seed, painter);
  for (const seed of [...painters.keys()].slice(0, -MAX_PAINTERS)) painters.delete(seed);
  const image = painter.paint(scene);
  const bytes = format === 'png' ? encodePng(image) : jpeg.encode(image);
  const reply: DrawReply = { id, bytes, white01: image.white01 };
  process.send?.(reply);
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C and systemd signal the whole process group. The parent decides when this process ends.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
