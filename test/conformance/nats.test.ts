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
    it('kill -9 of the agent’s node while it publishes: the next node takes over, nothing is lost', async () => {
      const { agent, broker, observer, complete, goesOn } = stage();
      const address = agent.lines.findLast(({ msg }) => msg === 'connected')?.['broker'];
      const mine = broker.outside?.proxies.findIndex(({ url }) => url === `mqtt://${String(address)}`) ?? -1;
      const from = observer.seen.length;
      const killedMs = performance.now();
      await cluster.node(mine).kill();
      await goesOn();
      await complete();
      // Nobody says the will of a node that died; were it said, the agent would mend it.
      await until(() => observer.statuses().at(-1)?.state === 'online', 'online');
      const times = [
        killedMs,
        ...observer.on(/^camera\/[^/]+\/(observation|backfill)$/, from).map(({ atMs }) => atMs),
      ];
      const silenceMs = Math.max(...times.map((atMs, n) => atMs - (times[n - 1] ?? atMs)));
      console.log(`agent’s node killed: silence of ${Math.round(silenceMs)} ms`);
      await cluster.up();
      await goesOn();
      await complete();
    }, 240_000);
  },
);
