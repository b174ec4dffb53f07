import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { createLog, LevelledLog } from '../../../src/base/log.ts';
import { createScrub, redactAddresses } from '../../../src/base/redact.ts';

describe('log', () => {
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

  it('removes addresses and secrets from every field, also in an error with its cause', () => {
    const lines: string[] = [];
    const scrub = createScrub(['hunter"2']);
    const redact = (text: string): string => redactAddresses(scrub(text));
    const { log } = new LevelledLog('debug', { write: (line) => void lines.push(line) }, redact);
    log.debug({ camera: 'a', detail: { of: ['hunter"2'] } }, 'tried');
    const cause = new Error('connect to rtsp://cam/user=a_password=hunter2');
    log.error({
      err: new AgentError('camera_auth', 'no hunter"2', { cause, context: { stderr: 'hunter"2' } }),
    });
    expect(lines.join('')).not.toMatch(/hunter/);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ camera: 'a', detail: { of: ['***'] }, msg: 'tried' });
    expect(JSON.parse(lines[1] ?? '')).toMatchObject({
      level: 'error',
      err: { code: 'camera_auth', context: { stderr: '***' } },
    });
    expect(lines[1]).toContain('connect to rtsp://cam/***');
  });
});
