import { it } from 'vitest';
import { until } from '../fixtures/mosquitto.ts';
import type { NatsCluster } from '../fixtures/nats.ts';
import { nats } from './brokers.ts';
import { conformance } from './suite.ts';

let cluster: NatsCluster;

conformance(
  'NATS cluster',
  async () => {
    const broker = await nats();
    ({ cluster } = broker);
    return broker;
  },
  (stage) => {
    it('moves to the next node without losing a record when its node is killed', async () => {
      const { agent, broker, observer, expectComplete, waitForNewRecords } = stage();
      const address = agent.lines.findLast(({ msg }) => msg === 'connected')?.['broker'];
      const index =
        broker.external?.proxies.findIndex(({ url }) => url === `mqtt://${String(address)}`) ?? -1;
      const from = observer.messages.length;
      const killedMs = performance.now();
      await cluster.node(index).kill();
      await waitForNewRecords();
      await expectComplete();
      // A killed node does not publish the will; if it did, the agent would publish its status again.
      await until(() => observer.statuses().at(-1)?.state === 'online', 'online');
      const times = [
        killedMs,
        ...observer.on(/^camera\/[^/]+\/(observation|backfill)$/, from).map(({ atMs }) => atMs),
      ];
      const silenceMs = Math.max(...times.map((atMs, n) => atMs - (times[n - 1] ?? atMs)));
      console.log(`agent’s node killed: silence of ${Math.round(silenceMs)} ms`);
      await cluster.up();
      await waitForNewRecords();
      await expectComplete();
    }, 240_000);
  },
);
