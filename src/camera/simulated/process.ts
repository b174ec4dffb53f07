import { SeaPainter } from './draw-sea.ts';
import { encodeJpeg } from './jpeg.ts';
import type { DrawAnswer, DrawRequest } from './artist.ts';

/** The child process: draws one scene at a time and answers with the JPEG. Lives as long as its parent listens. */
let painter: SeaPainter | null = null;

process.on('message', (request: DrawRequest) => {
  if (painter?.seed !== request.scene.seed) painter = new SeaPainter(request.scene.seed);
  const answer: DrawAnswer = { id: request.id, jpeg: encodeJpeg(painter.paint(request.scene)) };
  process.send?.(answer);
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C and systemd signal the whole group: the parent decides when its last picture is drawn.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
