import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FRAME_FD, type VisionReply, type WireRequest } from '../../../src/vision/messages.ts';
import { MAX_AHEAD } from '../../../src/vision/protocol.ts';

const ENTRY = new URL('../../../src/vision/child/process.ts', import.meta.url);
const OPTIONS = { privacyMasks: [], roi: null, maxWidthPx: 32, lines: [] };

/** An uncompressed PNG, so that the number of bytes follows from the size. */
const solidPng = (background: string, width: number, height: number): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background } })
    .png({ compressionLevel: 0 })
    .toBuffer();

async function meanRgb(reply: VisionReply | undefined): Promise<number[]> {
  if (reply?.type !== 'rendered') throw new Error(`unexpected reply ${JSON.stringify(reply)}`);
  const { channels } = await sharp(reply.jpeg).stats();
  return channels.map(({ mean }) => Math.round(mean));
}

let child: ChildProcess;
let replies: VisionReply[];
let stderr: string;
beforeEach(() => {
  replies = [];
  stderr = '';
  child = fork(ENTRY, {
    serialization: 'advanced',
    execArgv: ['--no-warnings'],
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'ipc'],
  });
  child.on('message', (reply) => replies.push(reply as VisionReply));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
});
afterEach(() => child.kill('SIGKILL'));

const frames = (): Writable => child.stdio[FRAME_FD] as Writable;
const announce = (sizeBytes: number): void => {
  const request: WireRequest = { id: 0, type: 'render', options: OPTIONS, sizeBytes };
  child.send(request);
};

/** Sends the images as the agent does: the next one while the process works at the one before. */
async function repliesTo(images: readonly Buffer[]): Promise<VisionReply[]> {
  for (const [index, image] of images.entries()) {
    while (index - replies.length >= MAX_AHEAD) await once(child, 'message');
    announce(image.length);
    frames().write(image);
  }
  while (replies.length < images.length) await once(child, 'message');
  return replies;
}

describe('the frame pipe of the vision process', () => {
  it('reads frames of different sizes one after another, and keeps a frame while it reads the next one', async () => {
    // 1.4 MB for the first two: small enough for the buffers that the process keeps.
    const sent = [
      await solidPng('#ff0000', 800, 600),
      await solidPng('#0000ff', 800, 600),
      await solidPng('#00ff00', 8, 8),
      await solidPng('#ffffff', 1600, 1200),
      await solidPng('#000000', 8, 8),
    ];
    expect(sent[3]!.length).toBeGreaterThan(3_000_000);
    const means = await Promise.all((await repliesTo(sent)).map(meanRgb));
    [
      [255, 0, 0],
      [0, 0, 255],
      [0, 255, 0],
      [255, 255, 255],
      [0, 0, 0],
    ].forEach((wanted, index) =>
      wanted.forEach((value, channel) =>
        expect(Math.abs(means[index]![channel]! - value)).toBeLessThanOrEqual(3),
      ),
    );
  });

  it('accepts a frame without bytes, and rejects its content', async () => {
    const image = await solidPng('#ff0000', 8, 8);
    const [empty, next] = await repliesTo([Buffer.alloc(0), image]);
    expect(empty).toMatchObject({ type: 'failed', error: { code: 'image_empty' } });
    expect(next?.type).toBe('rendered');
  });

  it('exits when the pipe ends within a frame', async () => {
    announce(10);
    frames().end(Buffer.from('cut'));
    const [exitCode] = (await once(child, 'exit')) as [number];
    expect(exitCode).toBe(70);
    expect(stderr).toContain('cannot read a frame from the pipe: the frame pipe ended after 3 of 10 bytes');
  });
});
