import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RunningAgent } from '../../fixtures/agent.ts';
import { httpServer } from '../../fixtures/camera-server.ts';
import { runCli } from '../../fixtures/cli.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { until, type Message } from '../../fixtures/mosquitto.ts';
import { tempDir } from '../../fixtures/store.ts';

const bed = new LinkTestBed();
const MESSAGE = 'the camera answered with status 404';
const HINT = 'check the path in url: the camera does not know it';
const FAILURE = { code: 'camera_unreachable', message: MESSAGE, hint: HINT };

describe('a running agent with a camera that fails', () => {
  it('shows the failure of the camera and its remedy wherever a person asks for a frame', async () => {
    const image = await jpegOf(1, { width: 640, height: 360 });
    const isRight = (header: string | undefined): boolean =>
      header === `Basic ${Buffer.from('viewer:right').toString('base64')}`;
    const server = await httpServer(({ url, headers }, response) => {
      if (url !== '/gate') response.writeHead(404).end();
      else if (isRight(headers.authorization)) response.end(image);
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    });
    bed.defer(() => server.stop());
    const dir = tempDir();
    bed.defer(() => dir.remove());
    const password = join(dir.path, 'password');
    writeFileSync(password, 'wrong');
    const schedule = { cron: '0 0 1 1 *' };
    const login = { username: 'viewer', password_file: password };
    const broker = await bed.broker();
    const agent = await RunningAgent.start(
      {
        cameras: [
          { id: 'north', kind: 'http', url: `${server.url}/snap`, schedule },
          { id: 'gate', kind: 'http', url: `${server.url}/gate`, schedule, ...login },
        ],
        mqtt: { url: broker.url },
      },
      { steered: { synced: true } },
    );
    bed.defer(() => agent[Symbol.asyncDispose]());
    await agent.waitFor('connection', ({ msg }) => msg === 'connected');
    const cli = (...args: string[]) => runCli([...args, '--url', agent.url]);

    const shown = await cli('capture', 'north');
    expect(shown).toMatchObject({ code: 1, stderr: `${MESSAGE} [camera_unreachable]\n  ${HINT}\n` });
    expect((await cli('capture', 'north', '--json')).json()).toMatchObject({
      status: 'failed',
      reasons: ['camera_unreachable'],
      failure: FAILURE,
    });
    expect((await cli('status')).stdout).toContain(`down (camera_unreachable: ${MESSAGE})`);
    expect(await agent.json('/api/v1/cameras')).toMatchObject({ cameras: [{ failure: FAILURE }, {}] });
    expect(await agent.json('/api/v1/cameras/north/latest.jpg')).toMatchObject({
      status: 502,
      code: 'camera_unreachable',
      detail: MESSAGE,
      hint: HINT,
    });

    const answers = await broker.record('swellsight/v1/test/dev/cmdres/#');
    const operator = await broker.client();
    const ask = async (name: string): Promise<Record<string, unknown>> => {
      const payload = JSON.stringify({ id: `id-${name}`, args: { camera: 'north' } });
      await operator.publishAsync(`swellsight/v1/test/dev/cmd/${name}`, payload, { qos: 1 });
      const parse = ({ payload: text }: Message) => JSON.parse(text.toString()) as Record<string, unknown>;
      const isResult = (answer: Record<string, unknown>): boolean =>
        answer['id'] === `id-${name}` && 'duration_ms' in answer;
      return await until(() => answers.map(parse).find(isResult), `the answer to ${name}`);
    };
    expect(await ask('capture')).toMatchObject({ result: { status: 'failed', failure: FAILURE } });
    expect(await ask('image')).toMatchObject({
      error: { code: 'camera_unreachable', message: expect.stringContaining(MESSAGE) as unknown, hint: HINT },
    });

    // Two refusals: the second one is within the pause after the first.
    for (let count = 0; count < 2; count += 1)
      expect((await cli('capture', 'gate')).stderr).toContain('[camera_auth]');
    writeFileSync(password, 'right\n');
    expect(await cli('capture', 'gate')).toMatchObject({ code: 0, stderr: '' });
    expect(agent.raw.join('')).not.toContain('right');
  }, 180_000);
});
