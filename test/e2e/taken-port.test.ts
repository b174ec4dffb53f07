import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { Mosquitto, until } from '../fixtures/mosquitto.ts';
import { Operator, OPERATOR_PREFIX } from '../fixtures/operator.ts';

it(
  'An agent whose remotely set port is taken starts with the local settings, and commands reach it',
  { timeout: 120_000 },
  async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    const port = typeof address === 'object' ? address?.port : null;
    await using broker = await Mosquitto.start().then((one) =>
      Object.assign(one, { [Symbol.asyncDispose]: () => one.stop() }),
    );
    const stateDir = mkdtempSync(join(tmpdir(), 'swellsight-agent-'));
    const files = join(stateDir, 'var');
    mkdirSync(files);
    const overlay = { http: { port }, logLevel: 'debug' };
    writeFileSync(
      join(files, 'config-overlay.json'),
      JSON.stringify({ format: 1, trial: 'earlier', overlay }),
    );
    const operator = new Operator(await broker.client(), await broker.record(`${OPERATOR_PREFIX}#`));
    {
      await using agent = await RunningAgent.start({ mqtt: { url: broker.url } }, { stateDir });
      await agent.waitFor('the start', ({ msg }) => msg === 'connected');
      const topic = `${OPERATOR_PREFIX}event/config_overlay_dropped`;
      const event = await until(() => operator.messages.find((one) => one.topic === topic), 'the event');
      expect(event.payload.toString()).toContain('the agent does not start with it');
      expect(readdirSync(files)).toContainEqual(expect.stringMatching(/^config-overlay\.broken-\d+\.json$/));
      expect(await operator.run('config.get')).toMatchObject({ result: { overlay: {} } });
    }
    other.close();
  },
);
