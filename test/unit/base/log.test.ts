import { describe, expect, it } from 'vitest';
import { createLog, LevelledLog, redactUrl } from '../../../src/base/log.ts';

describe('log', () => {
  it.each([
    ['rtsp://viewer:s3cret@10.0.0.2/stream', 'rtsp://***@10.0.0.2/stream'],
    ['rtsp://viewer:p@ss@10.0.0.2/stream', 'rtsp://***@10.0.0.2/stream'],
    ['https://cam.example/snap?token=abc&w=1', 'https://cam.example/snap?token=***&w=***'],
    ['mqtt://broker:1883', 'mqtt://broker:1883'],
  ])('redacts %s', (url, wanted) => {
    expect(redactUrl(url)).toBe(wanted);
  });

  it('changes the level of all present and future parts at once', () => {
    const lines: string[] = [];
    const levels = new LevelledLog('info', { write: (line) => void lines.push(line) });
    const part = levels.log.child({ part: 'a' });
    const camera = part.child({ camera: 'north' });
    const say = (): number => {
      lines.length = 0;
      for (const log of [levels.log, part, camera, camera.child({ more: 1 })]) log.debug('said');
      return lines.length;
    };
    expect(say()).toBe(0);
    levels.level = 'trace';
    expect([say(), levels.level]).toEqual([4, 'trace']);
    levels.level = 'warn';
    expect(say()).toBe(0);
    for (let count = 0; count < 1000; count += 1) levels.log.child({ count });
    levels.level = 'debug';
    expect(say()).toBe(4);
  });

  it('redacts the values of secret names', () => {
    const lines: string[] = [];
    createLog('info', { write: (line) => void lines.push(line) }).info(
      { password: 'x1', mqtt: { password: 'x2' }, url: 'y' },
      'm',
    );
    expect(lines.join('')).not.toMatch(/x1|x2/);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info', msg: 'm', url: 'y' });
  });
});
