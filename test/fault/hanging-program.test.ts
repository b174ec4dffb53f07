import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { CommandCamera } from '../../src/camera/command-camera.ts';
import { failureCode } from '../fixtures/capture.ts';
import { LoopDisk } from '../fixtures/loop-disk.ts';

/** A frozen file system holds a writing process in the kernel, as the driver of a broken camera does: SIGKILL has no effect. */
describe('a camera program that hangs in the kernel', () => {
  let disk: LoopDisk;
  beforeEach(() => {
    disk = new LoopDisk(16);
    execFileSync('fsfreeze', ['--freeze', disk.mount]);
  });
  afterEach(() => {
    execFileSync('fsfreeze', ['--unfreeze', disk.mount]);
    disk.remove();
  });

  it('fails its capture, and neither the next capture nor the end of the camera waits for it', async () => {
    const command = ['sh', '-c', `echo x >${join(disk.mount, 'image')}`];
    const camera = new CommandCamera({ id: 'cam', command }, { clock: systemClock });
    for (let captures = 0; captures < 2; captures += 1)
      expect(await failureCode(camera, { timeoutS: 1 })).toBe('camera_timeout');
    await camera.close();
  });
});
