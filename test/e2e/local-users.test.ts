// What the programs that a running agent starts, and other users of its machine, can read.
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { descendants } from '../fixtures/capture.ts';
import { jpegOf } from '../fixtures/jpeg.ts';

const MARKER = 'mk5d8e2w';
const SECRET_VARIABLES = {
  NOTIFY_SOCKET: `@${MARKER}-notify`,
  LISTEN_FDNAMES: MARKER,
  AWS_SECRET_ACCESS_KEY: MARKER,
  GOOGLE_APPLICATION_CREDENTIALS: `/run/${MARKER}`,
  HTTPS_PROXY: `http://user:${MARKER}@proxy.example`,
  SWELLSIGHT_HTTP_TOKEN: MARKER.repeat(4),
};
const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

it('gives no process that it starts a variable with secrets', { timeout: 120_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'swellsight-env-'));
  const credentials = join(dir, MARKER);
  mkdirSync(credentials);
  writeFileSync(join(dir, 'a.jpg'), await jpegOf(1));
  const shell = `env > ${join(dir, 'env.txt')}; sleep 0.3; cat ${join(dir, 'a.jpg')}`;
  const seen = new Map<number, string>();
  const look = (agent: RunningAgent): void => {
    for (const pid of descendants()) {
      try {
        const [parent] = readFileSync(`/proc/${pid}/stat`, 'utf8')
          .replace(/^.*\) . /s, '')
          .split(' ');
        const environment = readFileSync(`/proc/${pid}/environ`, 'latin1');
        // A process that has not called exec yet still has the environment of the agent.
        const isForked = readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('run\0--config');
        if (pid !== agent.pid && Number(parent) !== process.pid && !isForked) seen.set(pid, environment);
      } catch {
        // The process ended meanwhile.
      }
    }
  };
  const agent = await RunningAgent.start(
    {
      cameras: [
        { id: 'program', kind: 'command', command: ['sh', '-c', shell], schedule: { everyS: 2 } },
        { id: 'drawn', kind: 'simulated', schedule: { everyS: 2 } },
      ],
    },
    { env: { ...SECRET_VARIABLES, CREDENTIALS_DIRECTORY: credentials } },
  );
  try {
    const timer = setInterval(() => look(agent), 20);
    await agent.observation((line) => line['camera'] === 'program');
    await agent.observation((line) => line['camera'] === 'drawn');
    clearInterval(timer);
    expect(readFileSync(`/proc/${agent.pid}/environ`, 'latin1')).toContain(MARKER);
    // The program, the process that draws, and the vision process.
    expect(seen.size).toBeGreaterThanOrEqual(3);
    for (const environment of seen.values()) expect(environment).not.toContain(MARKER);
    const variables = readFileSync(join(dir, 'env.txt'), 'utf8');
    expect(variables).toContain('PATH=');
    expect(variables).not.toContain(MARKER);
  } finally {
    await agent[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true });
  }
});

it(
  'creates files that only its user can open, and corrects existing ones',
  { timeout: 120_000 },
  async () => {
    const config = { cameras: [{ id: 'drawn', kind: 'simulated', schedule: { everyS: 2 } }] };
    const stateDir = mkdtempSync(join(tmpdir(), 'swellsight-modes-'));
    const state = join(stateDir, 'var');
    chmodSync(stateDir, 0o755);
    const umask = process.umask(0);
    try {
      mkdirSync(state, { mode: 0o777 });
      for (const name of ['swellsight.lock', 'swellsight.db', 'config-overlay.broken-1.json'])
        writeFileSync(join(state, name), '', { mode: 0o666 });
      writeFileSync(join(state, 'of-the-operator.txt'), '', { mode: 0o644 });
      const agent = await RunningAgent.start(config, { stateDir });
      try {
        await agent.observation();
        const open = readdirSync(state).filter((name) => (statSync(join(state, name)).mode & 0o077) !== 0);
        expect(open).toEqual(['of-the-operator.txt']);
        expect(readdirSync(state)).toEqual(expect.arrayContaining(['swellsight.db-wal', 'swellsight.lock']));
        expect(modeOf(join(state, 'swellsight.db'))).toBe('600');
        if (process.getuid?.() === 0) {
          const other = spawnSync('cat', [join(state, 'swellsight.lock')], { uid: 65_534, gid: 65_534 });
          expect(other.stderr.toString()).toContain('Permission denied');
        }
      } finally {
        await agent[Symbol.asyncDispose]();
      }
    } finally {
      process.umask(umask);
      rmSync(stateDir, { recursive: true, force: true });
    }
  },
);
