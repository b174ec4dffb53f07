import { describe, expect, it } from 'vitest';
import { openCamera } from '../../../src/camera/open.ts';
import { RetryingCamera } from '../../../src/camera/burst-capture.ts';
import { VideoCamera } from '../../../src/camera/ffmpeg/video-camera.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { cameraSettings } from '../../fixtures/capture.ts';

const deps = { clock: systemClock, log: createLog('silent') };

describe('openCamera', () => {
  it('retries cameras that can recover, and no others', async () => {
    const http = cameraSettings({ kind: 'http', url: 'http://h/' });
    expect(await openCamera(http, deps)).toBeInstanceOf(RetryingCamera);
    expect(await openCamera(cameraSettings({ kind: 'video', path: 'x' }), deps)).toBeInstanceOf(VideoCamera);
  });

  it.each(['rtsp', 'hls', 'http', 'v4l2', 'video', 'directory', 'command'] as const)(
    'rejects %s without its required key',
    async (kind) => {
      await expect(openCamera(cameraSettings({ kind }), deps)).rejects.toMatchObject({
        code: 'config_invalid',
      });
    },
  );
});
