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

/** The commands that a section of docs/operator-guide.md lists. */
function readGuideCommands(section: string): string[] {
  const page = readFileSync(join(CHECKOUT, 'docs', 'operator-guide.md'), 'utf8');
  const block = new RegExp(`## ${section}[\\s\\S]*?\`\`\`sh\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? '';
  return block.trim().split('\n');
}

describe("Commands of the operator's guide with two agents", () => {
  const home = mkdtempSync(join(tmpdir(), 'swellsight-guide-'));
  const directory = join(home, 'surf-models');
  const commands = readGuideCommands('Ten commands');
  const agents = new Map<Pole, RunningAgent>();
  const shells = new Set<ChildProcess>();
  let broker: Mosquitto;
  let recorder: Recorder;
  let repository = '';

  /** Runs a shell in which `swellsight` is the one of this checkout; `output` grows while it runs. */
  function runShell(script: readonly string[], cwd: string) {
    const child = spawn('sh', ['-e', '-c', script.join('\n')], {
      cwd,
      env: {
        ...process.env,
        SWELLSIGHT: CHECKOUT,
        PATH: `${join(home, 'bin')}:${process.env['PATH'] ?? ''}`,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A process group: the shell and its background processes are killed together.
      detached: true,
    });
    shells.add(child);
    const output = { out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => (output.out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output.err += chunk.toString()));
    const exitCode = once(child, 'close').then(([code]) => {
      shells.delete(child);
      return code as number | null;
    });
    return { output, exitCode };
  }

  const killShells = (): void => {
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
            trustRoot: join(directory, 'repo', 'metadata', '1.root.json'),
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
    if (!found) throw new Error(`${pole} is not running`);
    return found;
  };
  const stateOf = (pole: Pole): Status['state'] | undefined => {
    const topic = `swellsight/v1/home/${pole}/status`;
    const last = recorder.messages.findLast((message) => message.topic === topic);
    return last && (JSON.parse(last.payload.toString()) as Status).state;
  };
  const activeModelOf = async (pole: Pole): Promise<unknown> =>
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
    killShells();
    await Promise.all([...agents.values()].map((one) => one.stop()));
    await broker.stop();
    rmSync(home, { recursive: true, force: true });
  });

  it('creates a repository and lists it with the first nine commands', async () => {
    expect(commands).toHaveLength(10);
    // Differs from the guide in two things: any free port, and a `wait` for the server at the end.
    const script = commands.slice(0, -1).map((line) => line.replace('--port 8090', '--port 0'));
    const { output, exitCode } = runShell([...script, 'wait'], home);
    const failed = exitCode.then((code) => {
      throw new Error(`the shell exited with ${String(code)}: ${output.err}`);
    });
    failed.catch(() => undefined);
    const served = until(
      () => /model\.repository: (http:\S+)/.exec(output.out + output.err)?.[1],
      'the server',
    );
    repository = await Promise.race([served, failed]);
    expect(output.out).toMatch(/valid {2}my-model/);
  }, 120_000);

  it('installs the model on both devices over HTTP with the tenth command', async () => {
    await Promise.all(POLES.map(startAgent));
    await until(() => POLES.every((pole) => stateOf(pole) === 'online'), 'both devices', 120_000);
    const last = commands.at(-1) ?? '';
    expect(last).toMatch(/^swellsight fleet push my-model 1\.0\.0 .*--to 'home\/\+'$/);
    const push = runShell([last.replace('mqtt://localhost', broker.url)], directory);
    expect([await push.exitCode, push.output.err]).toEqual([0, '']);
    expect(push.output.out).toMatch(/2 committed, 0 failed, 0 installing, 0 waiting\n$/);
    for (const pole of POLES)
      expect(await activeModelOf(pole)).toMatchObject({ name: 'my-model', version: '1.0.0' });
  }, 240_000);

  it('installs the next version over MQTT alone, and waits for a device that is offline', async () => {
    // Stop the web server: HTTP downloads are impossible now.
    killShells();
    expect(await agent('pole-2').stop()).toBe(0);
    await until(() => stateOf('pole-2') === 'stopped', 'pole-2 to stop');
    const preparation = runShell(
      [
        'cp -r my-model my-next',
        'sed -i \'s/"version": "1.0.0"/"version": "1.1.0"/\' my-next/model.json',
        'swellsight repo publish repo my-next',
        'swellsight repo export repo my-model 1.1.0 --out next.tar',
      ],
      directory,
    );
    expect(await preparation.exitCode, preparation.output.err).toBe(0);
    const command = `swellsight fleet push my-model 1.1.0 --broker ${broker.url} --to 'home/+' --clear-failed --over mqtt next.tar`;
    const blocks = (): Message[] =>
      recorder.messages.filter(({ topic }) => topic.endsWith('/cmd/model.block'));
    const push = runShell([`${command} --wait 3`], directory);
    await until(() => push.output.err.includes('waiting for home/pole-2'), 'the push to wait', 120_000);
    expect(push.output.out).toMatch(
      /^\d\d:\d\d:\d\d {2}home\/pole-1 {2}committed {2}The version is installed/m,
    );
    expect(push.output.out).not.toContain('home/pole-2');
    await startAgent('pole-2');
    expect(await push.exitCode, push.output.err).toBe(0);
    expect(push.output.out).toMatch(/2 committed, 0 failed, 0 installing, 0 waiting\n$/);
    for (const pole of POLES)
      expect(await activeModelOf(pole)).toMatchObject({ name: 'my-model', version: '1.1.0' });
    expect(new Set(blocks().map(({ topic }) => topic)).size).toBe(2);
    const installCommands = recorder.messages.filter(
      ({ topic }) => topic === 'swellsight/v1/home/pole-2/cmd/model.install',
    );
    expect(JSON.parse(String(installCommands.at(-1)?.payload))).toMatchObject({
      args: { clear_failed: true },
    });
  }, 240_000);

  it('restarts, configures, diagnoses and rolls back both devices', async () => {
    const script = readGuideCommands('Many devices');
    expect(script).toHaveLength(5);
    // The guide leaves its first version; here the version of the test before is active.
    const fleet = runShell(
      script.map((line) =>
        line
          .replace('mqtt://localhost', broker.url)
          .replace('rollback my-model 1.0.0', 'rollback my-model 1.1.0'),
      ),
      directory,
    );
    expect([await fleet.exitCode, fleet.output.out]).toEqual([0, expect.any(String)]);
    expect(fleet.output.out.match(/^2 done, 0 failed, 0 running, 0 waiting$/gm)).toHaveLength(5);
    for (const pole of POLES) {
      const report = JSON.parse(
        readFileSync(join(directory, 'reports', `home+${pole}.json`), 'utf8'),
      ) as object;
      expect(report).toHaveProperty('health');
      expect(await activeModelOf(pole)).toMatchObject({ name: 'my-model', version: '1.0.0' });
    }
    const push = runShell([`swellsight fleet watch --broker ${broker.url} --once --to home`], directory);
    expect([await push.exitCode, push.output.out]).toEqual([
      0,
      expect.stringContaining('2 devices: online (2); '),
    ]);
    recorder.finish();
  }, 240_000);

  it('exits with an error that names a missing file', async () => {
    const { exitCode, output } = runShell(
      [
        `swellsight fleet push my-model 1.1.0 --broker ${broker.url} --to home --file other.json --over mqtt no.tar`,
      ],
      directory,
    );
    expect([await exitCode, output.err]).toEqual([
      2,
      expect.stringContaining('the file no.tar cannot be read'),
    ]);
  }, 60_000);
});
