import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { FrameInbox } from '../../../../src/vision/child/frame-inbox.ts';

it('reads frame after frame, small after large, keeps the one before, and says when the pipe ends within one', () => {
  const dir = mkdtempSync(join(tmpdir(), 'frame-inbox-'));
  const file = join(dir, 'frames');
  const large = new Uint8Array(3_000_000).fill(7);
  writeFileSync(file, Buffer.concat([Buffer.from('first'), Buffer.from('two'), large, Buffer.from('cut')]));
  const fd = openSync(file, 'r');
  try {
    const inbox = new FrameInbox(fd);
    const first = inbox.read(5);
    expect(Buffer.from(inbox.read(3)).toString()).toBe('two');
    expect(Buffer.from(first).toString()).toBe('first');
    expect(inbox.read(0)).toHaveLength(0);
    expect(Buffer.compare(inbox.read(large.length), large)).toBe(0);
    expect(() => inbox.read(10)).toThrow('ended after 3 of 10 bytes');
  } finally {
    closeSync(fd);
    rmSync(dir, { recursive: true });
  }
});
