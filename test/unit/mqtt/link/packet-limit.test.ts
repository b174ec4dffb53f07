import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PacketLimit } from '../../../../src/mqtt/link/packet-limit.ts';

function packet(bodyBytes: number): Buffer {
  const length: number[] = [];
  let left = bodyBytes;
  do {
    length.push((left % 128) | (left >= 128 ? 0x80 : 0));
    left = Math.floor(left / 128);
  } while (left > 0);
  return Buffer.concat([Buffer.from([0x30, ...length]), Buffer.alloc(bodyBytes, 0xff)]);
}

/** Writes the bytes in chunks. Resolves with the output, or with null after a failure. */
async function passThrough(bytes: Buffer, chunkBytes: number, limitBytes: number): Promise<Buffer | null> {
  const limit = new PacketLimit(limitBytes);
  const out: Buffer[] = [];
  limit.on('data', (chunk: Buffer) => out.push(chunk));
  const outcome = new Promise<boolean>((resolve) => {
    limit.on('error', () => resolve(false));
    limit.on('end', () => resolve(true));
  });
  for (let at = 0; at < bytes.length; at += chunkBytes) limit.write(bytes.subarray(at, at + chunkBytes));
  limit.end();
  return (await outcome) ? Buffer.concat(out) : null;
}

describe('PacketLimit', () => {
  it('passes packets within the limit unchanged for any chunk size, and fails on larger ones', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 64 }),
        async (sizes, chunkBytes) => {
          const bytes = Buffer.concat(sizes.map(packet));
          const passed = await passThrough(bytes, chunkBytes, 500);
          if (sizes.every((size) => size <= 500)) expect(passed).toEqual(bytes);
          else expect(passed).toBeNull();
        },
      ),
      { numRuns: 100 },
    );
  });

  it('fails on a length field of more than four bytes', async () => {
    expect(await passThrough(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x7f]), 1, 1e9)).toBeNull();
  });
});
