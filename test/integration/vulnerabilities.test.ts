import { once } from 'node:events';
import { mkdtempDisposableSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ROOT, runProgram } from '../../scripts/check/run-program.ts';

const SCRIPT = join(ROOT, 'scripts', 'check', 'vulnerabilities.ts');
const ADVISORY = {
  url: 'https://advisories.example/1',
  title: 'Reads past the end of a picture',
  severity: 'high',
  vulnerable_versions: '>=0.1.0',
};

/** Runs the check with the npm of this machine against a registry that answers each request for advisories in this way. */
async function checkWith(status: number, advisories: object) {
  using cache = mkdtempDisposableSync(join(tmpdir(), 'swellsight-'));
  const asked = new Set<string>();
  await using registry = createServer((request, response) => {
    // npm also asks for the other versions of a package with an advisory.
    if (request.method !== 'POST') return void response.writeHead(404).end('{}');
    void buffer(request).then((body) => {
      const json = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
      for (const name of Object.keys(JSON.parse(json.toString()) as object)) asked.add(name);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(advisories));
    });
  }).listen(0, '127.0.0.1');
  await once(registry, 'listening');
  const { port } = registry.address() as AddressInfo;
  const env = { npm_config_registry: `http://127.0.0.1:${port}/`, npm_config_cache: cache.path };
  const run = await runProgram([process.execPath, SCRIPT], { timeoutMs: 100_000, isQuiet: true, env });
  return { ...run, asked };
}

describe('check of known vulnerabilities', () => {
  it('passes without advisories, and asks for the packages that are shipped', async () => {
    const { exitCode, output, asked } = await checkWith(200, {});
    expect({ exitCode, output }).toEqual({
      exitCode: 0,
      output: expect.stringMatching(/^known vulnerabilities: 0 of \d+ locked packages\n$/) as string,
    });
    expect([...asked]).toEqual(expect.arrayContaining(['sharp', 'mqtt', 'onnxruntime-node']));
    expect(asked).not.toContain('vitest');
  });

  it('names a package with an advisory, also one that another package needs', async () => {
    const { exitCode, output } = await checkWith(200, {
      sharp: [{ id: 1, ...ADVISORY }],
      'mqtt-packet': [{ id: 2, ...ADVISORY }],
    });
    expect(exitCode).toBe(1);
    expect(output).toContain('sharp: high: Reads past the end of a picture https://advisories.example/1');
    expect(output).toMatch(/^mqtt: high: .*through mqtt-packet/m);
  });

  it('passes with an advisory of low severity', async () => {
    expect((await checkWith(200, { sharp: [{ id: 3, ...ADVISORY, severity: 'low' }] })).exitCode).toBe(0);
  });

  it.each([405, 500])('says that it could not check when the registry answers %d', async (status) => {
    const { exitCode, output } = await checkWith(status, {});
    expect(exitCode).toBe(0);
    expect(output).toMatch(new RegExp(`^known vulnerabilities: not checked, .*${status}`));
  });
});
