// Entry of the vision process: image bytes are decoded, and native inference code runs, only here.
import { writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { analyzeFrame } from './analyze.ts';
import { FrameInbox } from './frame-inbox.ts';
import { openProven } from './golden.ts';
import { BYTES_PER_MB, FRAME_FD, type VisionReply, type WireError, type WireRequest } from '../messages.ts';
import { renderFrame } from './render.ts';
import type { Session } from './session.ts';
import { startWatchdog } from './watchdog.ts';

type Answer = VisionReply extends infer Reply
  ? Reply extends unknown
    ? Omit<Reply, 'rssMb'>
    : never
  : never;

// libvips keeps decoded pictures for later use by default; here each one comes once.
sharp.cache(false);
sharp.concurrency(1);

/** Ten frames more weigh 8 MB more in the end; at eight, a frame in sixteen was spent on it. */
const COLLECT_EVERY = 20;
const WARM_UP_FRAMES = 2;
/** EX_SOFTWARE. */
const OUT_OF_STEP = 70;

const inbox = new FrameInbox(FRAME_FD);
let session: Session | null = null;
let frames = 0;

async function answer(request: WireRequest, bytes: Uint8Array): Promise<Answer> {
  if (request.type === 'open') {
    startWatchdog(request.hardRssMb * BYTES_PER_MB);
    session = await openProven(request.bundle, request);
    await warmUp(session);
    return { type: 'opened' };
  }
  if (request.type === 'render') {
    return { type: 'rendered', jpeg: await renderFrame(bytes, request.options) };
  }
  if (session === null) throw new AgentError('internal', 'analyze before open');
  return { type: 'analyzed', result: await analyzeFrame(session, bytes, request.options) };
}

/** A frame that is not read leaves its bytes to the next: better no process than one that is out of step. */
function take(sizeBytes: number): Uint8Array {
  try {
    return inbox.read(sizeBytes);
  } catch (thrown) {
    writeSync(process.stderr.fd, `a frame cannot be read: ${asAgentError(thrown).message}\n`);
    process.exit(OUT_OF_STEP);
  }
}

/** The first frames cost half as much again as the next: those at work should not be the ones. */
async function warmUp(opened: Session): Promise<void> {
  const { dir, manifest } = opened.bundle;
  const [golden] = manifest.golden;
  if (golden === undefined) return;
  const bytes = await readFile(join(dir, golden.image));
  for (let count = 0; count < WARM_UP_FRAMES; count += 1)
    await analyzeFrame(opened, bytes, { roi: null, privacyMasks: [], ignoreGate: true });
}

function wireError(thrown: unknown): WireError {
  const { code, message, context } = asAgentError(thrown);
  return { code, message, context };
}

async function handle(request: WireRequest, bytes: Uint8Array): Promise<void> {
  const reply: Answer = await answer(request, bytes).catch((thrown: unknown) => ({
    type: 'failed',
    error: wireError(thrown),
  }));
  const out = tell({ ...reply, rssMb: Math.round(process.memoryUsage.rss() / BYTES_PER_MB) });
  // A picture is more than a socket takes at once, and the next request may hold the thread for good: it is not this one that does.
  if (reply.type === 'rendered') await out;
  frames += 1;
  // Pixels lie outside of the heap, where V8 lets 64 MB of them pile up before it looks. After the answer it costs none.
  if (frames % COLLECT_EVERY === 0) globalThis.gc?.({ type: 'major' });
}

/** Resolves when all of it is out. */
const tell = (reply: VisionReply): Promise<void> =>
  new Promise((resolve) => process.send?.(reply, undefined, undefined, () => resolve()));

/** The next request may come while one is worked at: its frame is read meanwhile, and its turn comes after the answer. */
let turn = Promise.resolve();
process.on('message', (message) => {
  const request = message as WireRequest;
  const bytes = take(request.type === 'open' ? 0 : request.sizeBytes);
  turn = turn.then(() => handle(request, bytes));
});
process.once('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole process group of a terminal: the control process decides when this one stops.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
