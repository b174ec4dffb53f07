// Entry of the vision process. Only this process decodes image bytes and runs native inference code.
import { readSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { BYTES_PER_MB, FRAME_FD, type VisionReply, type WireRequest } from '../messages.ts';
import { analyzeFrame, renderFrame, shrinkFrame } from './analyze.ts';
import { openVerifiedSession } from './golden.ts';
import type { Session } from './session.ts';
import { startWatchdog } from './watchdog.ts';

type Answer = VisionReply extends infer Reply
  ? Reply extends unknown
    ? Omit<Reply, 'id' | 'rssMb'>
    : never
  : never;

// libvips caches decoded images by default; here each image is decoded only once.
sharp.cache(false);
sharp.concurrency(1);

/** A garbage collection runs after this many frames. With 8 it took 1/16 of the time; 20 need 8 MB more than 10. */
const FRAMES_PER_COLLECTION = 20;
const WARM_UP_FRAMES = 2;
/** Exit code of the process after a frame that it cannot read: EX_SOFTWARE of sysexits.h. */
const EXIT_FRAME_UNREADABLE = 70;
/** Frame buffers up to this size are kept for later frames; larger frames are rare. */
const MAX_KEPT_BYTES = 2 * 2 ** 20;

let session: Session | null = null;
let handledRequests = 0;
/** Two buffers that take turns: the previous frame is still in use while the next one is read. */
let currentBuffer = new Uint8Array(0);
let spareBuffer = new Uint8Array(0);

/**
 * Reads the next `sizeBytes` bytes of the frame pipe; they stay valid until the call after the next. Blocks the thread,
 * which saves a turn of the event loop for each 64 KB. The control process writes the frame together with its request;
 * if the control process hangs or has ended, this process has nothing else to do. Exits if the pipe ends early,
 * because the unread rest would become the start of the next frame.
 */
function readFrame(sizeBytes: number): Uint8Array {
  const bytes = frameBuffer(sizeBytes);
  try {
    for (let at = 0; at < sizeBytes;) {
      const readBytes = readSync(FRAME_FD, bytes, at, sizeBytes - at, null);
      if (readBytes === 0) throw new Error(`the frame pipe ended after ${at} of ${sizeBytes} bytes`);
      at += readBytes;
    }
  } catch (thrown) {
    writeSync(process.stderr.fd, `cannot read a frame from the pipe: ${asAgentError(thrown).message}\n`);
    process.exit(EXIT_FRAME_UNREADABLE);
  }
  return bytes;
}

function frameBuffer(sizeBytes: number): Uint8Array {
  if (sizeBytes > MAX_KEPT_BYTES) return new Uint8Array(sizeBytes);
  [currentBuffer, spareBuffer] = [spareBuffer, currentBuffer];
  if (currentBuffer.length < sizeBytes) currentBuffer = new Uint8Array(sizeBytes);
  return currentBuffer.subarray(0, sizeBytes);
}

async function execute(request: WireRequest, bytes: Uint8Array): Promise<Answer> {
  if (request.type === 'open') {
    startWatchdog(request.hardRssMb);
    session = await openVerifiedSession(request.bundle, request);
    await warmUp(session);
    return { type: 'opened' };
  }
  if (request.type === 'render') {
    return { type: 'rendered', jpeg: await renderFrame(bytes, request.options) };
  }
  if (request.type === 'shrink')
    return { type: 'shrunk', picture: await shrinkFrame(bytes, request.options) };
  if (session === null) throw new AgentError('internal', 'analyze before open');
  return { type: 'analyzed', result: await analyzeFrame(session, bytes, request.options) };
}

/** Analyses a few frames before the process serves, because the first ones take 1.5 times as long as later ones. */
async function warmUp(opened: Session): Promise<void> {
  const { dir, manifest } = opened.bundle;
  const [golden] = manifest.golden;
  if (golden === undefined) return;
  const bytes = await readFile(join(dir, golden.image));
  for (let count = 0; count < WARM_UP_FRAMES; count += 1)
    await analyzeFrame(opened, bytes, { roi: null, privacyMasks: [], ignoreGate: true });
}

async function handleRequest(request: WireRequest, bytes: Uint8Array): Promise<void> {
  const answer = await execute(request, bytes).catch((thrown: unknown): Answer => {
    const { code, message, context } = asAgentError(thrown);
    return { type: 'failed', error: { code, message, context } };
  });
  const sent = sendReply({
    ...answer,
    id: request.id,
    rssMb: Math.round(process.memoryUsage.rss() / BYTES_PER_MB),
  });
  // Flush the JPEG reply first: the next readSync would block the IPC write.
  if (answer.type === 'rendered') await sent;
  handledRequests += 1;
  // Pixels lie outside the V8 heap, and V8 lets 64 MB of them accumulate before it frees them. A garbage
  // collection after the reply delays nobody.
  if (handledRequests % FRAMES_PER_COLLECTION === 0) globalThis.gc?.({ type: 'major' });
}

/** Resolves when the whole reply is written. */
const sendReply = (reply: VisionReply): Promise<void> =>
  new Promise((resolve) => process.send?.(reply, undefined, undefined, () => resolve()));

// A second request may arrive while the first one is being handled. Read its frame at once, but handle it later.
let lastRequest = Promise.resolve();
process.on('message', (message) => {
  const request = message as WireRequest;
  const bytes = readFrame(request.type === 'open' ? 0 : request.sizeBytes);
  lastRequest = lastRequest.then(() => handleRequest(request, bytes));
});
process.once('disconnect', () => process.exit(0));
// Ctrl-C signals the whole process group of a terminal, but the control process decides when this process stops.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
