import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { httpServer } from '../fixtures/camera-server.ts';
import { Mosquitto, until } from '../fixtures/mosquitto.ts';
import { Operator, OPERATOR_PREFIX, redFrame } from '../fixtures/operator.ts';

/** Left half of the frame. */
const MASK = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]; // prettier-ignore
const FAST = { schedule: { everyS: 2 }, burst: { frames: 1, intervalS: 0 } };

/** An agent with its own broker, and somebody who may send it commands. */
class Device {
  readonly operator: Operator;
  readonly #broker: Mosquitto;
  readonly #agent: RunningAgent;

  private constructor(broker: Mosquitto, agent: RunningAgent, operator: Operator) {
    this.#broker = broker;
    this.#agent = agent;
    this.operator = operator;
  }

  static async start(cameras: readonly object[]): Promise<Device> {
    const broker = await Mosquitto.start();
    const operator = new Operator(await broker.client(), await broker.record(`${OPERATOR_PREFIX}#`));
    const agent = await RunningAgent.start({ mqtt: { url: broker.url }, cameras });
    await agent.waitFor('connection', ({ msg }) => msg === 'connected', 60_000);
    return new Device(broker, agent, operator);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent[Symbol.asyncDispose]();
    await this.#broker.stop();
  }

  measured(camera: string): Promise<unknown> {
    return this.#agent.observation(
      (line) => line['camera'] === camera && line['status'] !== 'failed',
      60_000,
      this.#agent.lines.length,
    );
  }

  /** Makes a change permanent. */
  async change(camera: object): Promise<void> {
    const set = await this.operator.run('config.set', { patch: { cameras: [camera] } });
    expect(set).toMatchObject({ status: 'succeeded' });
    expect(await this.operator.run('config.confirm')).toMatchObject({ status: 'succeeded' });
  }

  /** The newest image of a camera; null when there is none. */
  async image(camera: string): Promise<Buffer | null> {
    const from = this.operator.messages.length;
    const answer = await this.operator.run('image', { camera, max_width_px: 400 });
    if (answer.status !== 'succeeded') return null;
    const topic = `${OPERATOR_PREFIX}camera/${camera}/image`;
    return until(
      () => this.operator.messages.slice(from).find((one) => one.topic === topic)?.payload,
      'the image',
    );
  }
}

/** Whether the left half shows the camera's red picture. */
async function showsPrivateHalf(image: Buffer): Promise<boolean> {
  const left = { left: 0, top: 0, width: 184, height: 100 };
  const { channels } = await sharp(await sharp(image).extract(left).toBuffer()).stats();
  const [red = 0, green = 0] = channels.map(({ mean }) => mean);
  return red - green > 80;
}

describe('Somebody who may send commands', { timeout: 240_000 }, () => {
  it('never sees the view behind a local privacy mask', async () => {
    const frame = await redFrame();
    await using camera = await httpServer((_request, response) => response.end(frame)).then((server) =>
      Object.assign(server, { [Symbol.asyncDispose]: () => server.stop() }),
    );
    const url = `${camera.url}/now.jpg`;
    await using device = await Device.start([
      { id: 'north', kind: 'http', url, privacyMasks: [MASK], ...FAST },
    ]);
    await device.measured('north');

    await device.change({ id: 'spy', kind: 'http', url, ...FAST });
    await device.measured('spy');
    const masked = await device.image('spy');
    expect(masked && (await showsPrivateHalf(masked))).toBe(false);

    // The frame of the former source must not appear without the masks of that source.
    await device.change({ id: 'spy', kind: 'simulated', url: null });
    const after = await device.image('spy');
    expect(after !== null && (await showsPrivateHalf(after))).toBe(false);

    const { port } = camera;
    for (const other of [
      `http://localhost:${port}/now.jpg`,
      `http://127.1:${port}/now.jpg?rotate=180`,
      `http://[::ffff:127.0.0.1]:${port}/other.jpg`,
      `http://user:x@127.0.0.2:${port}/now.jpg`,
    ])
      for (const id of ['spy2', 'north']) {
        const patch = { cameras: [{ id, kind: 'http', url: other }] };
        expect(await device.operator.run('config.set', { patch })).toMatchObject({
          status: 'failed',
          error: { code: 'config_locked' },
        });
      }
  });

  it('learns neither the answer of a server in the network, nor whether a word of it is a secret', async () => {
    await using server = await httpServer((_request, response) =>
      response.end('the words are swordfish and marlin'),
    ).then((one) => Object.assign(one, { [Symbol.asyncDispose]: () => one.stop() }));
    await using device = await Device.start([
      { id: 'north', kind: 'http', url: `${server.url}/1`, username: 'u', password: 'swordfish', ...FAST },
    ]);
    await device.change({ id: 'swordfish', kind: 'http', url: `${server.url}/2`, ...FAST });
    const published = (): string => {
      const own = device.operator.messages.filter(({ topic }) => !topic.includes('/cmd'));
      return own.map(({ topic, payload }) => `${topic} ${payload.toString()}`).join('\n');
    };
    const event = 'Camera swordfish is down: the response is text and not an image.';
    await until(() => published().includes(event), event, 60_000);
    const { result } = await device.operator.run('diagnostics');
    expect(JSON.stringify(result)).toContain(event);
    expect(published() + JSON.stringify(result)).not.toMatch(/the words are|Camera \*\*\*/);
  });

  it('sends no local password to another port or path of the camera', async () => {
    const frame = await redFrame();
    const seen: string[] = [];
    const serve = (name: string) =>
      httpServer((request, response) => {
        const { authorization } = request.headers;
        seen.push(`${name}${request.url ?? ''} ${authorization === undefined ? 'open' : 'authenticated'}`);
        if (authorization !== undefined) response.end(frame);
        else response.writeHead(401, { 'www-authenticate': 'Basic realm="camera"' }).end();
      }).then((server) => Object.assign(server, { [Symbol.asyncDispose]: () => server.stop() }));
    await using camera = await serve('camera');
    await using other = await serve('other');
    await using device = await Device.start([
      { id: 'north', kind: 'http', url: `${camera.url}/now.jpg`, username: 'u', password: 'p', ...FAST },
    ]);
    await device.measured('north');
    const isSeen = (start: string) => until(() => seen.find((line) => line.startsWith(start)), start, 60_000);

    await device.change({ id: 'north', url: `${camera.url}/reboot` });
    await isSeen('camera/reboot');
    await device.change({ id: 'north', url: `${other.url}/now.jpg`, username: 'v', password: 'q' });
    await isSeen('other/now.jpg authenticated');
    // The login of the second command must not go to the address of a third one.
    await device.change({ id: 'north', url: `${other.url}/factory-reset` });
    await isSeen('other/factory-reset');
    await device.change({ id: 'north', url: null });
    await device.measured('north');
    expect(seen).toContain('camera/now.jpg authenticated');
    expect(seen.filter((line) => /(reboot|reset) authenticated/.test(line))).toEqual([]);
  });
});
