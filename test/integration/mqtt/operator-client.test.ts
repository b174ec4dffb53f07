import { describe, expect, it } from 'vitest';
import { OperatorClient } from '../../../src/mqtt/operator-client.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import type { MosquittoOptions } from '../../fixtures/mosquitto.ts';

const bed = new LinkTestBed();

async function connect(options: MosquittoOptions, login = {}): Promise<OperatorClient> {
  const { url } = await bed.broker(options);
  const client = await OperatorClient.connect({ url, username: null, password: null, ca: null, ...login });
  bed.defer(() => client.close());
  return client;
}

describe('OperatorClient', () => {
  it('says that the broker refuses the subscription, and what to do', async () => {
    const client = await connect({ refusesSubscriptions: true });
    await expect(client.subscribe(['swellsight/v1/#'], () => undefined)).rejects.toMatchObject({
      code: 'mqtt_refused',
      message: expect.stringContaining('subscription') as unknown,
      hint: expect.stringContaining('topics of the devices') as unknown,
    });
  });

  it('says that the broker refuses a command', async () => {
    const login = { username: 'operator', password: 'secret' };
    const client = await connect({ users: { operator: 'secret' }, acl: ['pattern read #'] }, login);
    await expect(client.publish('swellsight/v1/a/b/cmd/ping', '{}')).rejects.toMatchObject({
      code: 'mqtt_publish_refused',
    });
  });
});
