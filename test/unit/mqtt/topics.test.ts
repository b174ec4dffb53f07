import { describe, expect, it } from 'vitest';
import { Topics } from '../../../src/mqtt/topics.ts';

const topics = new Topics({ base: 'swellsight/v1/', site: 'pipe', device: 'pi4' });

describe('Topics', () => {
  it('start with base, site and device', () => {
    expect(topics.absolute('camera/north/state')).toBe('swellsight/v1/pipe/pi4/camera/north/state');
    expect(topics.commands).toBe('swellsight/v1/pipe/pi4/cmd/+');
  });

  it('accept a command name only directly below cmd', () => {
    expect(topics.commandName('swellsight/v1/pipe/pi4/cmd/model.install')).toBe('model.install');
    for (const topic of [
      'swellsight/v1/pipe/pi4/cmd/',
      'swellsight/v1/pipe/pi4/cmd/a/b',
      'swellsight/v1/pipe/pi5/cmd/a',
      'x',
    ])
      expect(topics.commandName(topic)).toBeNull();
  });

  it('keep answers below cmdres', () => {
    const below = 'swellsight/v1/pipe/pi4/cmdres/';
    expect(topics.answerTopic('ping', `${below}me/7`)).toBe('cmdres/me/7');
    for (const invalid of [
      null,
      '',
      below,
      `${below}#`,
      `${below}a/+`,
      `${below}a\0`,
      `${below}${'x'.repeat(300)}`,
      // A broker may close the connection for these.
      `${below}a\u0001`,
      `${below}a\u007f`,
      `${below}a\ufffe`,
      `${below}\ud800`,
      'swellsight/v1/pipe/pi5/cmdres/a',
      ` ${below}a`,
      `/${below}a`,
      'swellsight/v1/pipe/pi4/status',
      'swellsight/v1/pipe/pi4/cmdres',
    ])
      expect(topics.answerTopic('ping', invalid)).toBe('cmdres/ping');
  });

  it('do not use an invalid name as a topic', () => {
    expect(topics.answerTopic('model.install', null)).toBe('cmdres/model.install');
    for (const invalid of ['x'.repeat(65), 'a\u0000', '\ud800', 'a+', '']) {
      expect(topics.answerTopic(invalid, null)).toBe('cmdres/unknown');
    }
  });
});
