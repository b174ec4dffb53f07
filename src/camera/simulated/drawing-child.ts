import type { DrawReply, DrawRequest } from './drawing-process.ts';
import { JpegEncoder, SeaPainter } from './sea-painter.ts';

/** The child process: draws the scene of each request and replies with a JPEG. Exits when the parent disconnects. */
let painter: SeaPainter | null = null;
const jpeg = new JpegEncoder();

process.on('message', ({ id, scene }: DrawRequest) => {
  if (painter?.seed !== scene.seed) painter = new SeaPainter(scene.seed);
  const reply: DrawReply = { id, jpeg: jpeg.encode(painter.paint(scene)) };
  process.send?.(reply);
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C and systemd signal the whole process group. The parent decides when this process ends.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
