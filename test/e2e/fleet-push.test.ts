import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Status } from '../../src/contract/states.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import { Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';
import { Recorder } from '../fixtures/recorder.ts';

const CHECKOUT = join(import.meta.dirname, '..', '..');
const POLES = ['pole-1', 'pole-2'] as const;
type Pole = (typeof POLES)[number];

/** The commands of the page, as they stand. */
function commandsOfPage(): string[] {
  const page = readFileSync(join(CHECKOUT, 'docs', 'operator-guide.md'), 'utf8');
  const block = /## Ten commands[\s\S]*?```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  return block.trim().split('\n');
}

describe("the operator's guide, line by line, with real devices", () => {
  const home = mkdtempSync(join(tmpdir(), 'swellsight-guide-'));
  const folder = join(home, 'surf-models');
  const lines = commandsOfPage();
  const agents = new Map<Pole, RunningAgent>();
  const shells = new Set<ChildProcess>();
  let broker: Mosquitto;
  let recorder: Recorder;
  let repository = '';

  /** A shell in which `swellsight` is this checkout's; `said` grows with what it says. */
  function shell(commands: readonly string[], cwd: string) {
    const child = spawn('sh', ['-e', '-c', commands.join('\n')], {
      cwd,
      env: {
        ...process.env,
        SWELLSIGHT: CHECKOUT,
        PATH: `${join(home, 'bin')}:${process.env['PATH'] ?? ''}`,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // Its own process group: the shell and what it left in the background end together.
      detached: true,
    });
    shells.add(child);
    const said = { out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => (said.out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (said.err += chunk.toString()));
    const ended = once(child, 'close').then(([code]) => {
      shells.delete(child);
      return code as number | null;
    });
    return { child, said, ended };
  }

  const endShells = (): void => {
    for (const { pid } of shells) if (pid !== undefined) process.kill(-pid);
  };

  const startAgent = async (pole: Pole): Promise<void> => {
    const stateDir = join(home, pole);
    mkdirSync(stateDir, { recursive: true });
    agents.set(
      pole,
      await RunningAgent.start(
        {
          site: 'home',
          device: pole,
          mqtt: { url: broker.url },
          cameras: [
            {
              id: 'north',
              kind: 'directory',
              path: join(CHECKOUT, 'test/fixtures/sea'),
              replay: 'loop',
              schedule: { everyS: 1 },
              burst: { frames: 3, intervalS: 0 },
            },
          ],
          model: {
            trustRoot: join(folder, 'repo', 'metadata', '1.root.json'),
            repository,
            probation: { observations: 1, minutes: 0 },
          },
        },
        { stateDir },
      ),
    );
  };
  const agent = (pole: Pole): RunningAgent => {
    const found = agents.get(pole);
    if (!found) throw new Error(`${pole} does not run`);
    return found;
  };
  const stateOf = (pole: Pole): Status['state'] | undefined => {
    const topic = `swellsight/v1/home/${pole}/status`;
    const last = recorder.messages.findLast((message) => message.topic === topic);
    return last && (JSON.parse(last.payload.toString()) as Status).state;
  };
  const modelOf = async (pole: Pole): Promise<unknown> =>
    (await agent(pole).json('/api/v1/models/info'))['active'];

  beforeAll(async () => {
    mkdirSync(join(home, 'bin'));
    const program = join(home, 'bin', 'swellsight');
    writeFileSync(program, `#!/bin/sh\nexec "${process.execPath}" "${CHECKOUT}/src/main.ts" "$@"\n`);
    chmodSync(program, 0o755);
    broker = await Mosquitto.start();
    recorder = await Recorder.start(broker.url);
  });

  afterAll(async () => {
    endShells();
    await Promise.all([...agents.values()].map((one) => one.stop()));
    await broker.stop();
    rmSync(home, { recursive: true, force: true });
  });

  it('nine commands make a repository and show it', async () => {
    expect(lines).toHaveLength(10);
    // Any port that is free, and an end that waits for the server: nothing else differs from the page.
    const script = lines.slice(0, -1).map((line) => line.replace('--port 8090', '--port 0'));
    const { said, ended } = shell([...script, 'wait'], home);
    const failed = ended.then((code) => {
      throw new Error(`the shell ended with ${String(code)}: ${said.err}`);
    });
    failed.catch(() => undefined);
    const shown = until(() => /model\.repository: (http:\S+)/.exec(said.out + said.err)?.[1], 'the server');
    repository = await Promise.race([shown, failed]);
    expect(said.out).toMatch(/good {2}my-model/);
  }, 120_000);

  it('the tenth brings the model to both devices, by HTTP', async () => {
    await Promise.all(POLES.map(startAgent));
    await until(() => POLES.every((pole) => stateOf(pole) === 'online'), 'both devices', 120_000);
    const last = lines.at(-1) ?? '';
    expect(last).toMatch(/^swellsight fleet push my-model 1\.0\.0 .*--to 'home\/\+'$/);
    const push = shell([last.replace('mqtt://localhost', broker.url)], folder);
    expect([await push.ended, push.said.err]).toEqual([0, '']);
    expect(push.said.out).toMatch(/2 committed, 0 failed, 0 under way, 0 waiting\n$/);
    for (const pole of POLES)
      expect(await modelOf(pole)).toMatchObject({ name: 'my-model', version: '1.0.0' });
  }, 240_000);

  it('the next version goes by MQTT alone, and waits for the device that is away', async () => {
    // Without the web server, nothing comes by HTTP any more.
    endShells();
    expect(await agent('pole-2').stop()).toBe(0);
    await until(() => stateOf('pole-2') === 'stopped', 'pole-2 to be away');
    const made = shell(
      [
        'cp -r my-model my-next',
        'sed -i \'s/"version": "1.0.0"/"version": "1.1.0"/\' my-next/model.json',
        'swellsight repo publish repo my-next',
        'swellsight repo export repo my-model 1.1.0 --out next.tar',
      ],
      folder,
    );
    expect(await made.ended, made.said.err).toBe(0);
    const command = `swellsight fleet push my-model 1.1.0 --broker ${broker.url} --to 'home/+' --clear-failed --over mqtt next.tar`;
    const blocks = (): Message[] =>
      recorder.messages.filter(({ topic }) => topic.endsWith('/cmd/model.block'));
    const push = shell([`${command} --wait 3`], folder);
    await until(() => push.said.err.includes('waiting for home/pole-2'), 'the push to wait', 120_000);
    expect(push.said.out).toMatch(/^home\/pole-1 {2}committed$/m);
    expect(push.said.out).not.toMatch(/^home\/pole-2/m);
    await startAgent('pole-2');
    expect(await push.ended, push.said.err).toBe(0);
    expect(push.said.out).toMatch(/2 committed, 0 failed, 0 under way, 0 waiting\n$/);
    for (const pole of POLES)
      expect(await modelOf(pole)).toMatchObject({ name: 'my-model', version: '1.1.0' });
    expect(new Set(blocks().map(({ topic }) => topic)).size).toBe(2);
    const asked = recorder.messages.filter(
      ({ topic }) => topic === 'swellsight/v1/home/pole-2/cmd/model.install',
    );
    expect(JSON.parse(String(asked.at(-1)?.payload))).toMatchObject({ args: { clear_failed: true } });
    recorder.finish();
  }, 240_000);

  it('a file that is not there is told of, and ends it', async () => {
    const { ended, said } = shell(
      [
        `swellsight fleet push my-model 1.1.0 --broker ${broker.url} --to home --file other.json --over mqtt no.tar`,
      ],
      folder,
    );
    expect([await ended, said.err]).toEqual([2, expect.stringContaining('the file no.tar cannot be read')]);
  }, 60_000);
});
