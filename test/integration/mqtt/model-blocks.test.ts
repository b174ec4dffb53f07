import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { PartFile } from '../../../src/model/fetch/part-file.ts';
import { encodeBlock, MAX_BLOCK_BYTES } from '../../../src/mqtt/blocks/block-codec.ts';
import { BlockSender } from '../../../src/mqtt/blocks/block-sender.ts';
import type { MqttLink } from '../../../src/mqtt/link/link.ts';
import { ModelBlocks } from '../../../src/mqtt/blocks/model-blocks.ts';
import type { ModelBlocksTuning } from '../../../src/mqtt/blocks/request-window.ts';
import { linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { Mosquitto, until } from '../../fixtures/mosquitto.ts';
import { Proxy } from '../../fixtures/proxy.ts';
import { silentLog, tempDir } from '../../fixtures/store.ts';

const SHORT_TIMEOUTS: Partial<ModelBlocksTuning> = {
  replyTimeoutMs: 600,
  maxReplyTimeoutMs: 2000,
  reconnectTimeoutMs: 300,
  stallTimeoutMs: 20_000,
};
const unlimited = (updateId: string) => ({ updateId, maxBytesPerS: 0 });
const neverAborted = (): AbortSignal => new AbortController().signal;

describe('ModelBlocks and BlockSender on mosquitto', () => {
  let dir: { path: string; remove: () => void };
  let mosquitto: Mosquitto;
  let proxy: Proxy;
  let link: MqttLink;
  let blocks: ModelBlocks;
  let operator: MqttClient;
  let sender: BlockSender;
  let bytes: Buffer;
  let publish: (topic: string, payload: Buffer) => Promise<void>;
  let sent: { topic: string; sizeBytes: number }[];

  beforeEach(async () => {
    dir = tempDir();
    mosquitto = await Mosquitto.start();
    proxy = await Proxy.to(mosquitto.port);
    bytes = randomBytes(1_000_000);
    writeFileSync(join(dir.path, 'file'), bytes);
    operator = await mosquitto.client();
    await operator.subscribeAsync(topics.absolute('model/blocks/request'), { qos: 1 });
    sent = [];
    publish = async (topic, payload) => {
      sent.push({ topic, sizeBytes: payload.length });
      await operator.publishAsync(topic, payload, { qos: 1 });
    };
    sender = await BlockSender.open(join(dir.path, 'file'), { publish });
    operator.on('message', (topic, payload, { retain }) => sender.receive(topic, payload, retain));
    ({ link } = startLink(linkOptions(proxy.url), {
      onCommand: (_name, packet) => blocks.receive(packet),
      onConnected: () => blocks.linkUp(),
    }));
    createBlocks();
    await until(() => link.connected, 'the link');
  });

  afterEach(async () => {
    await link.stop();
    await sender.close();
    proxy.stop();
    await mosquitto.stop();
    dir.remove();
  });

  const createBlocks = (tuning: Partial<ModelBlocksTuning> = {}): void => {
    blocks = new ModelBlocks({ ...SHORT_TIMEOUTS, ...tuning }, { link, clock: systemClock, log: silentLog });
  };
  const sha256 = (of: Buffer): string => createHash('sha256').update(of).digest('hex');
  const openPart = (updateId: string): Promise<PartFile> =>
    PartFile.open(
      { dir: join(dir.path, 'parts'), updateId, reserveBytes: 0 },
      { of: 'mqtt:', sha256: sha256(bytes), sizeBytes: bytes.length },
    );

  it('transfers the file and sends no byte twice', async () => {
    const updateId = randomUUID();
    sender.serve(topics.prefix);
    const part = await openPart(updateId);
    await blocks.fetch(unlimited(updateId), part, neverAborted());
    await part.close();
    expect(sha256(readFileSync(part.path))).toBe(sha256(bytes));
    expect(sender.digest).toBe(`sha256:${sha256(bytes)}`);
    expect(sent.length).toBe(Math.ceil(bytes.length / MAX_BLOCK_BYTES));
    expect(sent.every(({ topic }) => topic === topics.absolute('cmd/model.block'))).toBe(true);
    expect(blocks.ignored).toEqual({
      retained: 0,
      malformed: 0,
      unknownUpdate: 0,
      unrequested: 0,
    });
  });

  it('continues after two lost connections, without requesting held bytes again', async () => {
    const updateId = randomUUID();
    sender.serve(topics.prefix);
    const part = await openPart(updateId);
    const fetched = blocks.fetch(unlimited(updateId), part, neverAborted());
    for (const atBytes of [150_000, 500_000]) {
      await until(() => part.heldBytes >= atBytes, `${atBytes} bytes`);
      proxy.cut();
    }
    await fetched;
    await part.close();
    expect(sha256(readFileSync(part.path))).toBe(sha256(bytes));
    // Each lost connection costs at most the blocks that were in flight.
    const sentBytes = sent.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    expect(sentBytes).toBeLessThan(bytes.length + 3 * 4 * (MAX_BLOCK_BYTES + 24));
  });

  it('repeats requests until the sender starts, and continues the part file of an earlier run', async () => {
    const updateId = randomUUID();
    const part = await openPart(updateId);
    await part.append(bytes.subarray(0, 700_000));
    await part.close();
    const again = await openPart(updateId);
    expect(again.heldBytes).toBe(700_000);
    const fetched = blocks.fetch(unlimited(updateId), again, neverAborted());
    await new Promise((resolve) => setTimeout(resolve, 900));
    expect(sent).toEqual([]);
    sender.serve(topics.prefix, updateId);
    await fetched;
    await again.close();
    expect(sha256(readFileSync(again.path))).toBe(sha256(bytes));
    expect(sent.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)).toBeLessThan(330_000);
  });

  it('accepts blocks that are shorter than requested, through a broker with a packet size limit', async () => {
    await mosquitto.down();
    const small = await Mosquitto.start({ lines: ['max_packet_size 20000'], port: mosquitto.port });
    try {
      await until(() => link.connected && operator.connected, 'both connections');
      await operator.subscribeAsync(topics.absolute('model/blocks/request'), { qos: 1 });
      await sender.close();
      sender = await BlockSender.open(join(dir.path, 'file'), { publish }, { maxPayloadBytes: 19_000 });
      const updateId = randomUUID();
      sender.serve(topics.prefix);
      const part = await openPart(updateId);
      await blocks.fetch(unlimited(updateId), part, neverAborted());
      await part.close();
      expect(sha256(readFileSync(part.path))).toBe(sha256(bytes));
    } finally {
      await link.stop();
      await small.stop();
    }
  });

  it('ignores blocks that are retained, malformed, of another update or not requested', async () => {
    createBlocks({ replyTimeoutMs: 30_000 });
    const updateId = randomUUID();
    const part = await openPart(updateId);
    const stop = new AbortController();
    const requests = await mosquitto.record(topics.absolute('model/blocks/request'));
    const fetched = blocks.fetch(unlimited(updateId), part, stop.signal);
    fetched.catch(() => undefined);
    await until(() => requests.length >= 4, 'a window of requests');
    expect(requests.slice(0, 4).map(({ payload }) => JSON.parse(payload.toString()) as unknown)).toEqual(
      [0, 1, 2, 3].map((n) => ({
        update_id: updateId,
        offset: n * MAX_BLOCK_BYTES,
        length: MAX_BLOCK_BYTES,
      })),
    );
    expect(requests.every(({ retain, packet }) => !retain && packet.qos === 1)).toBe(true);
    const wrongBytes = Buffer.alloc(MAX_BLOCK_BYTES, 7);
    const send = (payload: Buffer, retain = false): Promise<unknown> =>
      operator.publishAsync(topics.absolute('cmd/model.block'), payload, { qos: 1, retain });
    await send(encodeBlock({ updateId: randomUUID(), offset: 0, bytes: wrongBytes }));
    await send(encodeBlock({ updateId, offset: 5 * MAX_BLOCK_BYTES, bytes: wrongBytes }));
    await send(encodeBlock({ updateId, offset: 1, bytes: wrongBytes }));
    await send(encodeBlock({ updateId, offset: 0, bytes: Buffer.alloc(MAX_BLOCK_BYTES + 1) }));
    await send(Buffer.from('{"id":"1"}'));
    await send(Buffer.alloc(24));
    await send(encodeBlock({ updateId, offset: 0, bytes: wrongBytes }), true);
    await until(() => blocks.ignored.retained === 1, 'the retained block');
    expect(blocks.ignored).toEqual({
      retained: 1,
      malformed: 3,
      unknownUpdate: 1,
      unrequested: 2,
    });
    expect(part.heldBytes).toBe(0);
    await send(encodeBlock({ updateId, offset: 0, bytes: bytes.subarray(0, MAX_BLOCK_BYTES) }));
    await send(encodeBlock({ updateId, offset: 0, bytes: bytes.subarray(0, MAX_BLOCK_BYTES) }));
    await until(() => blocks.ignored.unrequested === 3, 'the duplicate block');
    await until(() => part.heldBytes === MAX_BLOCK_BYTES, 'the first block');
    stop.abort();
    await expect(fetched).rejects.toThrow('abort');
    await part.close();
  });

  it('fails when no block arrives in time, and keeps the held bytes', async () => {
    createBlocks({ stallTimeoutMs: 1500 });
    const updateId = randomUUID();
    const part = await openPart(updateId);
    await part.append(bytes.subarray(0, 1000));
    await expect(blocks.fetch(unlimited(updateId), part, neverAborted())).rejects.toMatchObject({
      code: 'model_transfer_failed',
    });
    await part.close();
    const again = await openPart(updateId);
    expect(again.heldBytes).toBe(1000);
    await again.close();
  });

  it('limits the bandwidth', async () => {
    const updateId = randomUUID();
    sender.serve(topics.prefix);
    const part = await openPart(updateId);
    const startedMs = performance.now();
    await blocks.fetch({ updateId, maxBytesPerS: 400_000 }, part, neverAborted());
    await part.close();
    // The last block is requested as soon as the bandwidth of the blocks before it has been used.
    expect(performance.now() - startedMs).toBeGreaterThan(
      1000 * ((1_000_000 - 2 * MAX_BLOCK_BYTES) / 400_000),
    );
  });
});
