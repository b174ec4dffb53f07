import { describe, expect, it } from 'vitest';
import { brokerName } from '../../../src/mqtt/link/broker-url.ts';
import { Topics } from '../../../src/mqtt/topics.ts';

const topics = new Topics({ base: 'swellsight/v1/', site: 'pipe', device: 'pi4' });

describe('Topics', () => {
  it('lie below base, site and device', () => {
    expect(topics.absolute('camera/north/state')).toBe('swellsight/v1/pipe/pi4/camera/north/state');
    expect(topics.commands).toBe('swellsight/v1/pipe/pi4/cmd/+');
  });

  it('name a command only directly below cmd', () => {
    expect(topics.commandName('swellsight/v1/pipe/pi4/cmd/model.install')).toBe('model.install');
    for (const topic of [
      'swellsight/v1/pipe/pi4/cmd/',
      'swellsight/v1/pipe/pi4/cmd/a/b',
      'swellsight/v1/pipe/pi5/cmd/a',
      'x',
    ])
      expect(topics.commandName(topic)).toBeNull();
  });

  it('let an answer go only below cmdres', () => {
    const below = 'swellsight/v1/pipe/pi4/cmdres/';
    expect(topics.answer('ping', `${below}me/7`)).toBe('cmdres/me/7');
    for (const odd of [
      null,
      '',
      below,
      `${below}#`,
      `${below}a/+`,
      `${below}a\0`,
      `${below}${'x'.repeat(300)}`,
      // What a broker may hang up on.
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
      expect(topics.answer('ping', odd)).toBe('cmdres/ping');
  });

  it('take no odd name for a topic', () => {
    expect(topics.answer('model.install', null)).toBe('cmdres/model.install');
    for (const odd of ['x'.repeat(65), 'a\u0000', '\ud800', 'a+', '']) {
      expect(topics.answer(odd, null)).toBe('cmdres/unknown');
    }
  });
});

describe('brokerName', () => {
  it('is host and port, never a credential', () => {
    expect(brokerName('mqtts://user:secret@example.org')).toBe('example.org:8883');
    expect(brokerName('mqtt://10.0.0.1:1999')).toBe('10.0.0.1:1999');
    expect(brokerName('mqtt://[::1]')).toBe('[::1]:1883');
    expect(brokerName('no address')).toBe('?');
  });
});
