import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { PartFile } from '../../../src/model/fetch/part-file.ts';
import { BlockSender } from '../../../src/mqtt/blocks/block-sender.ts';
import { ModelBlocks } from '../../../src/mqtt/blocks/model-blocks.ts';
import { linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { until } from '../../fixtures/mosquitto.ts';
import { Namespace } from '../../fixtures/namespace.ts';
import { silentLog, tempDir } from '../../fixtures/store.ts';

const [PORT, OPERATOR_PORT] = [18_840, 18_841];
const SIZE_BYTES = 300_000;
const LOST_PERCENT = 20;

describe('a model transfer in blocks over a network with packet loss', () => {
  const cleanups: (() => unknown)[] = [];

  afterEach(async () => {
    for (const clean of cleanups.splice(0).reverse()) await clean();
  });

  it.skipIf(!Namespace.isAvailable())(
    'completes with 20 % packet loss and two lost connections (nft in a network namespace; needs root)',
    async () => {
      const space = new Namespace();
      cleanups.push(() => space.remove());
      const dir = tempDir('swellsight-blocks-');
      cleanups.push(() => dir.remove());
      const config = join(dir.path, 'mosquitto.conf');
      const listeners = [PORT, OPERATOR_PORT].map((port) => `listener ${port}`);
      writeFileSync(config, ['user root', ...listeners, 'allow_anonymous true', ''].join('\n'));
      const broker = space.spawn('mosquitto', ['-c', config]);
      cleanups.push(() => broker.kill('SIGKILL'));

      const bytes = randomBytes(SIZE_BYTES);
      writeFileSync(join(dir.path, 'file'), bytes);
      const operator = await connected(`mqtt://${space.address}:${OPERATOR_PORT}`);
      cleanups.push(() => operator.end(true));
      let sentBytes = 0;
      const sender = await BlockSender.open(join(dir.path, 'file'), {
        publish: async (topic, payload) => {
          sentBytes += payload.length;
          await operator.publishAsync(topic, payload, { qos: 1 });
        },
      });
      cleanups.push(() => sender.close());
      sender.serve(topics.prefix);
      operator.on('message', (topic, payload, { retain }) => sender.receive(topic, payload, retain));
      await operator.subscribeAsync(topics.absolute('model/blocks/request'), { qos: 1 });

      const { link, births } = startLink(
        linkOptions(`mqtt://${space.address}:${PORT}`, {
          tuning: { keepAliveS: 3, connectTimeoutMs: 5000, ackTimeoutMs: 5000 },
        }),
        {
          onCommand: (_name, packet) => blocks.receive(packet),
          onConnected: () => blocks.linkUp(),
        },
      );
      cleanups.push(() => link.stop());
      const blocks = new ModelBlocks({}, { link, clock: systemClock, log: silentLog });
      await until(() => link.connected, 'the connection');

      space.drop(PORT, LOST_PERCENT);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const part = await PartFile.open(
        { dir: join(dir.path, 'parts'), updateId: randomUUID(), reserveBytes: 0 },
        { of: 'mqtt:', sha256, sizeBytes: SIZE_BYTES },
      );
      const fetched = blocks.fetch(
        { updateId: randomUUID(), maxBytesPerS: 0 },
        part,
        AbortSignal.timeout(100_000),
      );
      for (const share of [0.2, 0.6]) {
        await until(() => part.heldBytes >= share * SIZE_BYTES, `${share} of the file`, 60_000);
        const before = births.length;
        space.dropAll(PORT);
        await until(() => !link.connected, 'the lost connection', 60_000);
        space.restore();
        space.drop(PORT, LOST_PERCENT);
        await until(() => births.length > before, 'the next connection', 60_000);
      }
      await fetched;
      await part.close();
      expect(readFileSync(part.path).equals(bytes)).toBe(true);
      // Only blocks that were in flight are sent again.
      expect(sentBytes).toBeLessThan(3 * SIZE_BYTES);
    },
    120_000,
  );
});

async function connected(url: string): Promise<MqttClient> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await connectAsync(url, { reconnectPeriod: 0 }, false);
    } catch (thrown) {
      if (attempt > 100) throw thrown;
      await delay(50);
    }
  }
}
