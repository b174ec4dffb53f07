import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { createLog } from '../../../src/base/log.ts';
import { RecentLog } from '../../../src/control/recent-log.ts';

function made() {
  const lines: string[] = [];
  const recent = new RecentLog({ write: (line) => void lines.push(line) });
  return { recent, lines, log: createLog('info', recent) };
}

describe('RecentLog', () => {
  it('keeps warnings and errors, newest first, and passes every line on', () => {
    const { recent, lines, log } = made();
    log.info('nothing');
    log.child({ part: 'mqtt' }).warn({ code: 'mqtt_unreachable', reason: 'refused' }, 'link lost');
    log.error({ err: new AgentError('store_full', 'no space') }, 'retention failed');
    expect(lines).toHaveLength(3);
    expect(recent.entries()).toEqual([
      {
        at: expect.stringMatching(/Z$/),
        level: 'error',
        part: null,
        message: 'retention failed',
        code: 'store_full',
        detail: 'no space',
        count: 1,
      },
      expect.objectContaining({ part: 'mqtt', code: 'mqtt_unreachable', detail: 'refused' }),
    ]);
  });

  it('counts repeated lines and is bounded in number and size', () => {
    const { recent, log } = made();
    for (let n = 0; n < 500; n += 1) log.warn({ n }, 'link lost');
    log.warn({ reason: 'x'.repeat(10_000) }, 'long');
    expect(recent.entries().map(({ message, count }) => [message, count])).toEqual([
      ['long', 1],
      ['link lost', 500],
    ]);
    expect(recent.entries()[0]?.detail).toHaveLength(300);
    for (let n = 0; n < 500; n += 1) log.warn(`kind ${n}`);
    expect(recent.entries()).toHaveLength(50);
    expect(recent.entries()[0]?.message).toBe('kind 499');
  });

  it('keeps no secret that the log redacts and no credentials of a URL', () => {
    const { recent, log } = made();
    log.warn({ password: 'hunter22', err: new Error('GET rtsp://ana:hunter22@cam/live?key=hunter22') }, 'x');
    expect(JSON.stringify(recent.entries())).not.toContain('hunter22');
  });

  it('keeps the latest lines of all levels, at most 500 and 256 KiB', () => {
    const { recent, log } = made();
    for (let n = 0; n < 600; n += 1) log.info({ n }, 'line');
    const numbers = (limit: number) =>
      recent.lines(limit).map((line) => (JSON.parse(line) as { n: number }).n);
    expect(numbers(2)).toEqual([598, 599]);
    expect([numbers(500).length, numbers(500)[0]]).toEqual([500, 100]);
    for (let n = 0; n < 40; n += 1) log.info({ n, text: 'x'.repeat(10_000) }, 'long');
    expect(recent.lines(500).join('').length).toBeLessThanOrEqual(256 * 1024);
    expect(numbers(1)).toEqual([39]);
  });

  it('ignores lines that are not JSON', () => {
    const recent = new RecentLog({ write: () => undefined });
    for (const line of ['', 'no json', '{"level":"warn"', '{"level":"warn","msg":5,"err":null,"time":{}}'])
      recent.write(line);
    expect(recent.entries()).toEqual([expect.objectContaining({ message: '', detail: null })]);
  });
});
