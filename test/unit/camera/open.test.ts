import { describe, expect, it } from 'vitest';
import { openCamera } from '../../../src/camera/open.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { createLog } from '../../../src/base/log.ts';
import { cameraSettings } from '../../fixtures/capture.ts';

const deps = { clock: systemClock, log: createLog('silent') };

describe('openCamera', () => {
  it.each(['rtsp', 'hls', 'http', 'v4l2', 'video', 'directory', 'command'] as const)(
    'rejects %s without its required key',
    async (kind) => {
      await expect(openCamera(cameraSettings({ kind }), deps)).rejects.toMatchObject({
        code: 'config_invalid',
      });
    },
  );
});
