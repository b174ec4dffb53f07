import type { DrawAnswer, DrawRequest } from './artist.ts';
import { SeaPainter } from './draw-sea.ts';
import { JpegEncoder } from './jpeg.ts';

/** The child process: draws one scene after the other and answers with JPEGs. Lives while its parent listens. */
let painter: SeaPainter | null = null;
const jpeg = new JpegEncoder();

process.on('message', ({ id, scene }: DrawRequest) => {
  if (painter?.seed !== scene.seed) painter = new SeaPainter(scene.seed);
  const answer: DrawAnswer = { id, jpeg: jpeg.encode(painter.paint(scene)) };
  process.send?.(answer);
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C and systemd signal the whole group: the parent decides when its last picture is drawn.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
