import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startAgent } from '../../../src/agent.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { asAgentError } from '../../../src/base/errors.ts';
import { LevelledLog } from '../../../src/base/log.ts';
import { Configuration } from '../../../src/config/configuration.ts';
import { HttpServer } from '../../../src/http/server.ts';
import { MqttLink } from '../../../src/mqtt/link/link.ts';
import { ModelServer } from '../../../src/serving/model-server.ts';
import { Store } from '../../../src/store/store.ts';
import { shippedModelsDir } from '../../fixtures/bundles.ts';
import { descendants, eventually } from '../../fixtures/capture.ts';
import { tempDir } from '../../fixtures/store.ts';

/** Closes as it does, and then rejects. */
function rejectAfter(part: { readonly prototype: object }, name: 'stop' | 'close'): void {
  const prototype = part.prototype as Record<string, () => Promise<void>>;
  const original = prototype[name];
  vi.spyOn(prototype, name).mockImplementation(async function (this: unknown) {
    await original?.call(this);
    throw new Error(`${name} failed`);
  });
}

function start(settings: object) {
  const { path, remove } = tempDir();
  const lines: string[] = [];
  const env = { SWELLSIGHT_STATE_DIR: join(path, 'var') };
  const configuration = Configuration.open({ file: null, env, cwd: path }, { clock: systemClock });
  onTestFinished(() => {
    vi.restoreAllMocks();
    configuration.close();
    remove();
  });
  const agent = startAgent(
    {
      settings: { ...configuration.settings, ...settings },
      version: '1.0.0',
      installationDir: path,
      shippedModelsDir,
      env: {},
    },
    {
      clock: systemClock,
      random: Math.random,
      levels: new LevelledLog('info', { write: (line) => void lines.push(line) }),
      configuration,
      onRestartWanted: () => undefined,
    },
  );
  return { agent, lines, stateDir: join(path, 'var') };
}

const mqtt = (settings: Configuration['settings']['mqtt']): object => ({
  ...settings,
  embedded: { host: '127.0.0.1', port: 0 },
});

/** Rejects when the store is still open: the lock of its directory is taken. */
function openStoreAgain(stateDir: string): void {
  Store.open(
    {
      retentionDays: 1,
      maxMb: 64,
      outbox: { maxMessages: 100, maxAgeDays: 1, maxMb: 8 },
      stateDir,
      bootId: 'b',
    },
    { clock: systemClock, log: new LevelledLog('silent').log, onBroken: () => undefined },
  ).close();
}

describe('an agent whose parts fail to close', () => {
  it.each([
    ['the link', () => rejectAfter(MqttLink, 'stop')],
    ['the HTTP server', () => rejectAfter(HttpServer, 'stop')],
    ['the model server', () => rejectAfter(ModelServer, 'close')],
  ])('%s: closes the store and ends its processes, and logs the failure', async (_part, breakPart) => {
    const before = new Set(descendants());
    const defaults = Configuration.open({ file: null, env: {}, cwd: '/' }, { clock: systemClock }).settings;
    breakPart();
    const { agent, lines, stateDir } = start({
      mqtt: mqtt(defaults.mqtt),
      http: { ...defaults.http, port: 0 },
    });
    const running = await agent;
    await eventually('a model', () => running.api.ready().ready, 60_000);
    await running.stop();
    openStoreAgain(stateDir);
    await eventually('no process is left', () => descendants().every((pid) => before.has(pid)));
    expect(lines.filter((line) => line.includes('a part did not stop')).join()).toMatch(
      /(stop|close) failed/,
    );
  });
});

it('a start that fails keeps its first error', async () => {
  const defaults = Configuration.open({ file: null, env: {}, cwd: '/' }, { clock: systemClock }).settings;
  rejectAfter(ModelServer, 'close');
  // An address of a network for documentation: no machine has it.
  const http = { ...defaults.http, host: '192.0.2.1', token: 'a-token' };
  const { agent, stateDir } = start({ mqtt: mqtt(defaults.mqtt), http });
  const thrown: unknown = await agent.catch((failure: unknown) => failure);
  expect(asAgentError(thrown)).toMatchObject({ code: 'http_listen', context: { cleanup: ['close failed'] } });
  openStoreAgain(stateDir);
});
