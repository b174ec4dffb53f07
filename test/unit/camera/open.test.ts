import { describe, expect, it } from 'vitest';
import { HttpCamera } from '../../../src/camera/http-camera.ts';
import { openCamera } from '../../../src/camera/open.ts';
import { RetryingCamera } from '../../../src/camera/retrying-camera.ts';
import { VideoCamera } from '../../../src/camera/video-camera.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { cameraSettings } from '../../fixtures/capture.ts';

const deps = { clock: systemClock, log: createLog('silent') };

describe('openCamera', () => {
  it('retries what can come back by itself, unless told not to', async () => {
    const http = cameraSettings({ kind: 'http', url: 'http://h/' });
    expect(await openCamera(http, deps)).toBeInstanceOf(RetryingCamera);
    expect(await openCamera(http, { ...deps, retry: false })).toBeInstanceOf(HttpCamera);
    expect(await openCamera(cameraSettings({ kind: 'video', path: 'x' }), deps)).toBeInstanceOf(VideoCamera);
  });

  it.each(['rtsp', 'hls', 'http', 'v4l2', 'video', 'directory', 'command'] as const)(
    'refuses %s without what it needs',
    async (kind) => {
      await expect(openCamera(cameraSettings({ kind }), deps)).rejects.toMatchObject({
        code: 'config_invalid',
      });
    },
  );
});
