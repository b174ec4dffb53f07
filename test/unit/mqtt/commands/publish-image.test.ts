import { beforeEach, describe, expect, it } from 'vitest';
import type { AgentApi } from '../../../../src/contract/api.ts';
import { publishImage } from '../../../../src/mqtt/commands/publish-image.ts';
import { Topics } from '../../../../src/mqtt/topics.ts';
import { CannedAgent } from '../../../fixtures/agent-api.ts';
import { FakeLink } from '../../../fixtures/commands.ts';

const topics = new Topics({ base: 'swellsight/v1', site: 'test', device: 'dev1' });
const signal = new AbortController().signal;

describe('publishImage', () => {
  let agent: CannedAgent;
  let link: FakeLink;
  let requestedWidthsPx: number[];
  let bytesPerPx: number;

  beforeEach(() => {
    agent = new CannedAgent();
    link = new FakeLink();
    requestedWidthsPx = [];
    bytesPerPx = 0.1;
  });

  /** The size of a JPEG is proportional to its area, plus a header. */
  const api = (): AgentApi =>
    Object.assign(agent, {
      latestImage: (_id: string, { maxWidthPx }: { maxWidthPx: number }) => {
        requestedWidthsPx.push(maxWidthPx);
        const jpeg = new Uint8Array(600 + Math.round(maxWidthPx * maxWidthPx * bytesPerPx));
        return Promise.resolve({ jpeg, observationId: null });
      },
    });
  const run = (args: object = {}) =>
    publishImage({ camera: 'north', ...args }, { api: api(), link, topics }, signal);

  it('publishes once with QoS 0, not retained, and returns what it published', async () => {
    expect(await run({ annotate: true })).toEqual({
      camera: 'north',
      topic: 'swellsight/v1/test/dev1/camera/north/image',
      size_bytes: 41_560,
      max_width_px: 640,
      annotated: true,
      frame_age_s: 1,
    });
    expect(link.sent.map(({ topic, options }) => [topic, options])).toEqual([
      ['camera/north/image', { qos: 0, retain: false }],
    ]);
  });

  it('reduces the width until the link accepts the size', async () => {
    link.maxPayloadBytes = 20_000;
    const result = await run({ max_width_px: 2000 });
    expect(result.size_bytes).toBeLessThanOrEqual(20_000);
    expect(result.max_width_px).toBeGreaterThan(300);
    expect(requestedWidthsPx.length).toBeLessThanOrEqual(3);
    expect(link.sent).toHaveLength(1);
  });

  it('limits the size for a slow link', async () => {
    bytesPerPx = 1;
    expect((await run({ max_width_px: 4096 })).size_bytes).toBeLessThanOrEqual(262_144);
  });

  it('fails when the smallest image is too large, and publishes nothing', async () => {
    link.maxPayloadBytes = 300;
    await expect(run()).rejects.toMatchObject({ code: 'mqtt_too_large' });
    expect(requestedWidthsPx.at(-1)).toBe(64);
    expect(requestedWidthsPx.length).toBeLessThan(6);
    expect(link.sent).toEqual([]);
  });

  it('ends when a smaller width does not reduce the size', async () => {
    link.maxPayloadBytes = 1000;
    const constantSize = {
      cameras: agent.cameras,
      latestImage: (_id: string, { maxWidthPx }: { maxWidthPx: number }) => {
        requestedWidthsPx.push(maxWidthPx);
        return Promise.resolve({ jpeg: new Uint8Array(1001), observationId: null });
      },
    } as unknown as AgentApi;
    const args = { camera: 'north', max_width_px: 4096 };
    await expect(publishImage(args, { api: constantSize, link, topics }, signal)).rejects.toMatchObject({
      code: 'mqtt_too_large',
    });
    expect(requestedWidthsPx.length).toBeLessThan(60);
  });

  it('fails without a camera, without a frame, and while the camera is down', async () => {
    await expect(run({ camera: 'south' })).rejects.toMatchObject({ code: 'camera_unknown' });
    const frameless = new CannedAgent();
    frameless.image = null;
    await expect(
      publishImage({ camera: 'north' }, { api: frameless, link, topics }, signal),
    ).rejects.toMatchObject({ code: 'camera_no_frame' });
    const takeDown = (reason: string | null) => {
      const [view] = agent.cameras();
      if (!view) throw new Error('no camera');
      agent.cameras = () => [{ ...view, state: { ...view.state, state: 'down', reason } }];
    };
    takeDown('camera_auth');
    await expect(run()).rejects.toMatchObject({ code: 'camera_auth' });
    takeDown('toString');
    await expect(run()).rejects.toMatchObject({ code: 'camera_no_frame' });
    expect(link.sent).toEqual([]);
  });

  it('publishes nothing after the abort', async () => {
    const deps = { api: api(), link, topics };
    await expect(publishImage({ camera: 'north' }, deps, AbortSignal.abort())).rejects.toThrow();
    expect(link.sent).toEqual([]);
  });
});
