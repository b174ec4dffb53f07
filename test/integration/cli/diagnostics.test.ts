import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { extract } from 'tar';
import { describe, expect, it } from 'vitest';
import { startServer } from '../../fixtures/http-server.ts';
import { runCli } from '../../fixtures/cli.ts';
import { makeFileTree } from '../../fixtures/file-tree.ts';

const MARKERS = {
  camera: 'marker-camera-"pass',
  broker: 'marker-broker-pass',
  token: 'marker-http-token',
  path: 'marker-path-key',
};
/** Lists the files of the archive. */
const PAGE = readFileSync(new URL('../../../docs/doctor.md', import.meta.url), 'utf8');
const TIMEOUT_MS = 240_000;

interface Manifest {
  readonly parts: readonly { readonly file: string }[];
  readonly missing: readonly { readonly file: string; readonly reason: string }[];
}

async function unpack(archive: string, dir: string) {
  mkdirSync(dir);
  await extract({ file: archive, cwd: dir });
  const texts = new Map(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'utf8')]));
  const json = (name: string): unknown => JSON.parse(texts.get(name) ?? '');
  return { texts, json, manifest: json('manifest.json') as Manifest };
}

function expectNoMarker(texts: ReadonlyMap<string, string>): void {
  const all = [...texts].map(([name, text]) => `${name}\n${text}`).join('\n');
  for (const marker of Object.values(MARKERS)) {
    expect(all).not.toContain(marker);
    expect(all).not.toContain(encodeURIComponent(marker));
    expect(all).not.toContain(JSON.stringify(marker).slice(1, -1));
  }
}

const configuration = (httpPort: number) => ({
  site: 'test',
  device: 'one',
  stateDir: 'state',
  mqtt: { url: `mqtt://user:${MARKERS.broker}@127.0.0.1:1` },
  http: { port: httpPort, token: MARKERS.token },
  cameras: [
    {
      id: 'north',
      kind: 'http',
      url: `http://127.0.0.1:1/${MARKERS.path}?key=${MARKERS.path}`,
      username: 'operator',
      password: MARKERS.camera,
      timeoutS: 2,
    },
  ],
});

describe('swellsight diagnostics', () => {
  it(
    'packs what the running agent and the system say, for its owner alone, without a secret',
    async () => {
      const { path, write } = makeFileTree();
      const { agent, port } = await startServer({ token: MARKERS.token });
      agent.logLines = [
        JSON.stringify({ level: 'warn', msg: `GET http://u:${MARKERS.camera}@cam/${MARKERS.path}` }),
        JSON.stringify({ level: 'info', msg: 'started', token: MARKERS.token, of: MARKERS.broker }),
      ];
      write('agent.json5', JSON.stringify(configuration(port)));
      write('state/models/slots.json', '{"format":1}');
      const { code, stdout, stderr, json } = await runCli(
        ['diagnostics', '--config', 'agent.json5', '--out', 'out.tar.gz', '--json'],
        { cwd: path },
      );
      expect([code, stderr]).toEqual([0, expect.not.stringContaining('marker-')]);
      const archive = join(path, 'out.tar.gz');
      expect(json()).toMatchObject({ path: archive, size_bytes: statSync(archive).size });
      expect(stdout).not.toContain('marker-');
      expect(statSync(archive).mode & 0o777).toBe(0o600);
      expect(statSync(archive).size).toBeLessThan(5_000_000);

      const { texts, json: part, manifest } = await unpack(archive, join(path, 'unpacked'));
      expectNoMarker(texts);
      expect([...texts.keys()].sort()).toEqual(
        ['manifest.json', ...manifest.parts.map(({ file }) => file)].sort(),
      );
      const lines = (texts.get('log.jsonl') ?? '').split('\n').map((line) => JSON.parse(line) as unknown);
      expect(lines).toEqual([
        { level: 'warn', msg: expect.stringMatching(/^GET http:/) },
        { level: 'info', msg: 'started', token: '***', of: '***' },
      ]);
      expect(part('status.json')).toMatchObject({ status: 'online', info: {} });
      expect(part('health.json')).toMatchObject({ status: 'ok' });
      expect(part('model-slots.json')).toEqual({ format: 1 });
      expect(part('configuration.json')).toMatchObject({
        file: 'agent.json5',
        settings: { mqtt: { url: ['mqtt://***@127.0.0.1:1'] }, http: { token: '***' } },
      });
      expect(part('doctor.json')).toMatchObject({
        stopped: null,
        checks: expect.arrayContaining([
          expect.objectContaining({ check: 'broker', state: 'fail' }),
          expect.objectContaining({ check: 'camera north', state: 'fail' }),
          expect.objectContaining({ check: 'http', state: 'ok' }),
        ]) as unknown,
      });
      expect(part('network.json')).toMatchObject({ lo: expect.anything() as unknown });
    },
    TIMEOUT_MS,
  );

  it('works with an invalid configuration, without an agent, without tools, on a read-only disk', async () => {
    const { path, write } = makeFileTree();
    const valid = configuration(1);
    const broken = { ...valid, stateDir: '/proc/state', unknownKey: MARKERS.broker };
    write('agent.json5', JSON.stringify(broken));
    const args = ['diagnostics', '--config', 'agent.json5', '--url', 'http://127.0.0.1:2'];
    const env = { PATH: '/nowhere', TMPDIR: '/proc' };
    const refused = await runCli(args, { cwd: path, env });
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringMatching(/\/proc\/.* cannot be written/),
    ]);
    const { code, stdout, stderr } = await runCli([...args, '--out', 'out.tar.gz'], { cwd: path, env });
    expect([code, stdout]).toEqual([0, expect.stringContaining(join(path, 'out.tar.gz'))]);
    const { texts, json, manifest } = await unpack(join(path, 'out.tar.gz'), join(path, 'unpacked'));
    expectNoMarker(texts);
    const reasons = Object.fromEntries(manifest.missing.map(({ file, reason }) => [file, reason]));
    expect(reasons).toMatchObject({
      'status.json': expect.stringMatching(/ECONNREFUSED.*agent_unreachable/) as unknown,
      'log.jsonl': expect.stringMatching(/ECONNREFUSED.*cannot start journalctl/) as unknown,
      'unit.txt': expect.stringContaining('cannot start systemctl') as unknown,
      'kernel.txt': expect.stringContaining('cannot start dmesg') as unknown,
      'last-stop.json': expect.stringContaining('ENOENT') as unknown,
    });
    for (const file of [...texts.keys(), ...Object.keys(reasons)]) expect(PAGE).toContain(`\`${file}\``);
    for (const file of Object.keys(reasons)) expect(stderr).toContain(`without ${file}: `);
    expect(json('configuration.json')).toMatchObject({
      settings: null,
      faults: [expect.stringContaining('unknownKey') as unknown],
    });
    expect(json('doctor.json')).toMatchObject({ checks: [{ check: 'configuration', state: 'fail' }] });
  });

  it('takes log and kernel lines from the journal, without a secret', async () => {
    const { path, write } = makeFileTree();
    const tools = {
      dmesg: 'echo "dmesg: read kernel buffer failed: Operation not permitted" >&2; exit 1',
      journalctl: `case "$*" in
        *--dmesg*) printf '%s\n' '[1.0] Linux version' '[2.0] Under-voltage of ${MARKERS.token}' ;;
        *) printf '%s\n' '{"to":"mqtt://u:${MARKERS.broker}@h"}' 'token ${MARKERS.token}' ;;
      esac`,
    };
    for (const [name, script] of Object.entries(tools)) {
      write(`tools/${name}`, `#!/bin/sh\n${script}\n`);
      chmodSync(join(path, 'tools', name), 0o755);
    }
    write('agent.json5', JSON.stringify({ ...configuration(1), unknownKey: 1 }));
    const args = ['diagnostics', '--config', 'agent.json5', '--url', 'http://127.0.0.1:2'];
    const env = { PATH: join(path, 'tools') };
    expect((await runCli([...args, '--out', 'out.tar.gz'], { cwd: path, env })).code).toBe(0);
    const { texts } = await unpack(join(path, 'out.tar.gz'), join(path, 'unpacked'));
    expectNoMarker(texts);
    expect(texts.get('log.jsonl')?.trim()).toBe('{"to":"mqtt://***@h"}\ntoken ***');
    expect(texts.get('kernel.txt')?.trim()).toBe('[2.0] Under-voltage of ***');
  });
});
