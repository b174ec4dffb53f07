import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEBIAN_IMAGE, NODE_IMAGE } from '../../../scripts/image/base-images.ts';
import { RunningAgent } from '../../fixtures/agent.ts';
import { freePort } from '../../fixtures/mosquitto.ts';
import { readRootFile, ROOT } from './files.ts';

interface Instruction {
  readonly name: string;
  readonly text: string;
}

interface Stage {
  readonly from: string;
  readonly instructions: readonly Instruction[];
}

const instructions = readRootFile('Dockerfile.arm64')
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll(/\\\n\s*/g, ' ')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line): Instruction => {
    const [, name = '', text = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    return { name, text };
  });

/** The stages by name. */
const stages = new Map<string, Stage>();
for (const instruction of instructions) {
  const [, from = '', name = ''] = /^(?:--platform=\S+ )?(\S+) AS (\S+)$/.exec(instruction.text) ?? [];
  if (instruction.name === 'FROM') stages.set(name, { from, instructions: [] });
  else {
    const [last = '', stage] = [...stages].at(-1) ?? [];
    stages.set(last, {
      from: stage?.from ?? '',
      instructions: [...(stage?.instructions ?? []), instruction],
    });
  }
}

const runtime = stages.get('runtime')?.instructions ?? [];
const textOf = (name: string): string => runtime.find((instruction) => instruction.name === name)?.text ?? '';

describe('Dockerfile.arm64', () => {
  it('is made of known instructions, in stages that start from Debian, Node and each other', () => {
    expect(instructions.filter(({ name }) => name === '')).toEqual([]);
    const images = [DEBIAN_IMAGE, NODE_IMAGE].map((image) => image.replace('docker.io/library/', ''));
    for (const [name, { from }] of stages) {
      const earlier = [...stages.keys()].slice(0, [...stages.keys()].indexOf(name));
      expect([...images, ...earlier], name).toContain(from);
    }
    expect([...stages.keys()]).toEqual(expect.arrayContaining(['runtime', 'runtime-ffmpeg']));
  });

  it('builds on the platform of the builder, and ends on that of the target', () => {
    const platforms = instructions
      .filter(({ name, text }) => name === 'FROM' && !text.startsWith('runtime '))
      .map(({ text }) => /^--platform=(\S+) \S+ AS (\S+)$/.exec(text)?.slice(1));
    expect(platforms).toEqual([
      ...['build', 'modules', 'root', 'ffmpeg'].map((name) => ['$BUILDPLATFORM', name]),
      ...['node', 'runtime'].map((name) => ['$TARGETPLATFORM', name]),
    ]);
  });

  it('runs nothing in the last stages, so that a build for another platform needs no emulator', () => {
    for (const name of ['runtime', 'runtime-ffmpeg'])
      expect(stages.get(name)?.instructions.map((instruction) => instruction.name)).not.toContain('RUN');
  });

  it('copies files that exist and that .dockerignore lets through', () => {
    const allowed = readRootFile('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    const sources = instructions
      .filter(({ name, text }) => name === 'COPY' && !text.startsWith('--from='))
      .flatMap(({ text }) => text.split(' ').slice(0, -1));
    expect(sources.length).toBeGreaterThan(10);
    for (const source of sources) {
      expect(existsSync(join(ROOT, source)), source).toBe(true);
      expect(
        allowed.some((path) => source === path || source.startsWith(`${path}/`)),
        `${source} in .dockerignore`,
      ).toBe(true);
    }
  });

  it('copies from other stages only what exists there', () => {
    for (const { text } of instructions.filter(({ name }) => name === 'COPY')) {
      const stage = /^--from=(\S+)/.exec(text)?.[1];
      if (stage !== undefined) expect([...stages.keys()]).toContain(stage);
    }
  });

  it('installs the platform packages of sharp and koffi', () => {
    for (const { name, text } of instructions)
      if (name === 'RUN') expect(text).not.toContain('--omit=optional');
  });

  it('starts Node under tini with the flags of bin/swellsight.mjs', () => {
    const launcher = readRootFile('bin/swellsight.mjs');
    const flags = [...(/LEAN_FLAGS = \[(.*)\]/.exec(launcher)?.[1] ?? '').matchAll(/'([^']+)'/g)].map(
      ([, flag]) => flag,
    );
    expect(flags).toHaveLength(3);
    expect(JSON.parse(textOf('ENTRYPOINT'))).toEqual([
      ...['tini', '--', 'node', ...flags, '/opt/swellsight/dist/main.js'],
    ]);
    expect(JSON.parse(textOf('CMD'))).toEqual(['run']);
    for (const [, name = '', value = ''] of launcher.matchAll(/(MALLOC_\w+): '(\d+)'/g))
      expect(textOf('ENV')).toContain(`${name}=${value}`);
  });

  it('does not run as root, and keeps the state in a volume', () => {
    expect(textOf('USER')).toBe('10001:10001');
    expect(textOf('VOLUME')).toBe('/var/lib/swellsight');
    expect(textOf('ENV')).toContain('SWELLSIGHT_STATE_DIR=/var/lib/swellsight');
  });

  it('has a health check with a start period', () => {
    expect(textOf('HEALTHCHECK')).toMatch(/--start-period=\d+s .*CMD \["swellsight-live"\]$/);
  });
});

describe('swellsight-live', () => {
  const check = async (port: number): Promise<number> => {
    const child = spawn(join(ROOT, 'scripts/image/swellsight-live'), {
      env: { ...process.env, SWELLSIGHT_HTTP_PORT: String(port) },
      stdio: 'ignore',
    });
    const [exitCode] = (await once(child, 'exit')) as [number];
    return exitCode;
  };

  it('succeeds for a live agent, and fails when nothing listens', async () => {
    const port = await freePort();
    expect(await check(port)).not.toBe(0);
    await using agent = await RunningAgent.start({
      http: { port, host: '0.0.0.0', token: 'a-token-of-the-test-0123456789abcdef' },
      mqtt: { embedded: { port: await freePort() } },
    });
    await agent.waitFor('start', ({ msg }) => msg === 'agent started');
    await expect.poll(() => check(port), { timeout: 30_000 }).toBe(0);
  });

  it('fails for an agent that is not live', async () => {
    const server = createServer((_request, response) => response.writeHead(503).end());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    expect(await check((server.address() as AddressInfo).port)).not.toBe(0);
    server.close();
  });
});
