import { beforeEach, describe, expect, it } from 'vitest';
import type { AgentApi } from '../../../../src/contract/api.ts';
import { publishImage } from '../../../../src/mqtt/commands/image-command.ts';
import { Topics } from '../../../../src/mqtt/topics.ts';
import { CannedAgent } from '../../../fixtures/agent-api.ts';
import { TakingLink } from '../../../fixtures/commands.ts';

const topics = new Topics({ base: 'swellsight/v1', site: 'test', device: 'dev1' });
const signal = new AbortController().signal;

describe('publishImage', () => {
  let agent: CannedAgent;
  let link: TakingLink;
  /** Widths that were asked for. */
  let asked: number[];
  let bytesPerPx: number;

  beforeEach(() => {
    agent = new CannedAgent();
    link = new TakingLink();
    asked = [];
    bytesPerPx = 0.1;
  });

  /** A JPEG goes with its area, plus a header. */
  const api = (): AgentApi =>
    Object.assign(agent, {
      latestImage: (_id: string, { maxWidthPx }: { maxWidthPx: number }) => {
        asked.push(maxWidthPx);
        return Promise.resolve(new Uint8Array(600 + Math.round(maxWidthPx * maxWidthPx * bytesPerPx)));
      },
    });
  const run = (args: object = {}) =>
    publishImage({ camera: 'north', ...args }, { api: api(), link, topics }, signal);

  it('publishes once, unreliably and not to be kept, and says what and where', async () => {
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

  it('shrinks what the link would not carry', async () => {
    link.maxPayloadBytes = 20_000;
    const result = await run({ max_width_px: 2000 });
    expect(result.size_bytes).toBeLessThanOrEqual(20_000);
    expect(result.max_width_px).toBeGreaterThan(300);
    expect(asked.length).toBeLessThanOrEqual(3);
    expect(link.sent).toHaveLength(1);
  });

  it('keeps a picture within what a slow link carries', async () => {
    bytesPerPx = 1;
    expect((await run({ max_width_px: 4096 })).size_bytes).toBeLessThanOrEqual(262_144);
  });

  it('gives up where even the smallest is too large, and sends nothing', async () => {
    link.maxPayloadBytes = 300;
    await expect(run()).rejects.toMatchObject({ code: 'mqtt_too_large' });
    expect(asked.at(-1)).toBe(64);
    expect(asked.length).toBeLessThan(6);
    expect(link.sent).toEqual([]);
  });

  it('ends, whatever the sizes are', async () => {
    link.maxPayloadBytes = 1000;
    const stubborn = {
      cameras: agent.cameras,
      latestImage: (_id: string, { maxWidthPx }: { maxWidthPx: number }) => {
        asked.push(maxWidthPx);
        return Promise.resolve(new Uint8Array(1001));
      },
    } as unknown as AgentApi;
    const args = { camera: 'north', max_width_px: 4096 };
    await expect(publishImage(args, { api: stubborn, link, topics }, signal)).rejects.toMatchObject({
      code: 'mqtt_too_large',
    });
    expect(asked.length).toBeLessThan(60);
  });

  it('fails clearly without a camera, without a frame, and while the camera is down', async () => {
    await expect(run({ camera: 'south' })).rejects.toMatchObject({ code: 'camera_unknown' });
    const blind = new CannedAgent();
    blind.image = null;
    await expect(
      publishImage({ camera: 'north' }, { api: blind, link, topics }, signal),
    ).rejects.toMatchObject({ code: 'camera_no_frame' });
    const down = (reason: string | null) => {
      const [view] = agent.cameras();
      if (!view) throw new Error('no camera');
      agent.cameras = () => [{ ...view, state: { ...view.state, state: 'down', reason } }];
    };
    down('camera_auth');
    await expect(run()).rejects.toMatchObject({ code: 'camera_auth' });
    down('toString');
    await expect(run()).rejects.toMatchObject({ code: 'camera_no_frame' });
    expect(link.sent).toEqual([]);
  });

  it('does not publish after its time', async () => {
    const late = { api: api(), link, topics };
    await expect(publishImage({ camera: 'north' }, late, AbortSignal.abort())).rejects.toThrow();
    expect(link.sent).toEqual([]);
  });
});
