import { describe, expect, it } from 'vitest';
import { PoisonImages } from '../../../src/analysis/poison-images.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { AgentError } from '../../../src/base/errors.ts';

const crashed = new AgentError('vision_crashed', 'gone');

describe('PoisonImages', () => {
  it('refuses an image that crashed the process twice, for ten minutes', () => {
    let nowMs = 0;
    const poison = new PoisonImages({ clock: { ...systemClock, monoMs: () => nowMs } });
    poison.noteFailure('bad', new AgentError('image_corrupt', 'does not count'));
    poison.noteFailure('bad', crashed);
    expect(() => poison.check('bad')).not.toThrow();
    poison.noteFailure('bad', new AgentError('vision_timeout', 'late'));
    expect(() => poison.check('bad')).toThrow(expect.objectContaining({ code: 'image_corrupt' }) as Error);
    expect(() => poison.check('good')).not.toThrow();
    nowMs = 600_001;
    expect(() => poison.check('bad')).not.toThrow();
  });

  it('keeps a bounded number of images, the newest', () => {
    const poison = new PoisonImages({ clock: systemClock });
    for (let i = 0; i < 1000; i += 1) {
      poison.noteFailure(String(i), crashed);
      poison.noteFailure(String(i), crashed);
    }
    expect(() => poison.check('0')).not.toThrow();
    expect(() => poison.check('999')).toThrow();
  });
});
