import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { Trust } from '../../../src/model/trust.ts';
import type { MetadataSource } from '../../../src/model/trust-source.ts';

const CHECKOUT = join(import.meta.dirname, '..', '..', '..');

/** The commands of the page, as they stand. */
async function commandsOfPage(): Promise<string[]> {
  const page = await readFile(join(CHECKOUT, 'docs', 'operator-guide.md'), 'utf8');
  const block = /## Ten commands[\s\S]*?```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  return block.trim().split('\n');
}

const overHttp = (url: string): MetadataSource => ({
  fetch: async (path) => {
    const response = await fetch(new URL(path, url));
    return response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
  },
});

it("the guide's commands, line by line in a shell, end with a repository that a device takes a model from", async () => {
  const home = await mkdtemp(join(tmpdir(), 'swellsight-guide-'));
  const lines = await commandsOfPage();
  expect(lines.length).toBe(10);
  expect(lines.at(-1)).toMatch(/^swellsight fleet push my-model \S+ --to /);
  // Any port that is free, and an end that waits for the server: nothing else differs from the page.
  const script = lines.slice(0, -1).map((line) => line.replace('--port 8090', '--port 0'));
  await mkdir(join(home, 'bin'));
  const program = join(home, 'bin', 'swellsight');
  await writeFile(program, `#!/bin/sh\nexec "${process.execPath}" "${CHECKOUT}/src/main.ts" "$@"\n`);
  await chmod(program, 0o755);
  const shell = spawn('sh', ['-e', '-c', [...script, 'wait'].join('\n')], {
    cwd: home,
    env: { ...process.env, SWELLSIGHT: CHECKOUT, PATH: `${join(home, 'bin')}:${process.env['PATH'] ?? ''}` },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  onTestFinished(async () => {
    // Its own process group: the shell and the server.
    if (shell.pid !== undefined) process.kill(-shell.pid);
    await once(shell, 'exit');
    await rm(home, { recursive: true, force: true });
  });
  let said = '';
  const url = await new Promise<string>((resolve, reject) => {
    const hear = (chunk: Buffer): void => {
      said += chunk.toString();
      const found = /model\.repository: (http:\S+)/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    };
    shell.stdout.on('data', hear);
    shell.stderr.on('data', hear);
    shell.once('exit', (code) => reject(new Error(`the shell ended with ${String(code)}: ${said}`)));
  });
  expect(said).toMatch(/good {2}my-model/);
  const rootFile = join(home, 'surf-models', 'repo', 'metadata', '1.root.json');
  const trust = new Trust({ dir: join(home, 'device'), rootFile, syncedNowMs: Date.now() });
  const signal = AbortSignal.timeout(10_000);
  await trust.refresh(overHttp(url), signal);
  const version = lines.at(-1)?.split(' ')[4] ?? '';
  const target = await trust.target('my-model', version);
  const archive = await fetch(new URL(target.path, url), { headers: { range: 'bytes=1000-1999' } });
  expect([archive.status, archive.headers.get('content-range')]).toEqual([
    206,
    `bytes 1000-1999/${target.sizeBytes}`,
  ]);
}, 120_000);
