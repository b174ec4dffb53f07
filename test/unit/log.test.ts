import { describe, expect, it } from 'vitest';
import { createLog, redactUrl } from '../../src/log.ts';

describe('log', () => {
  it.each([
    ['rtsp://viewer:s3cret@10.0.0.2/stream', 'rtsp://***@10.0.0.2/stream'],
    ['rtsp://viewer:p@ss@10.0.0.2/stream', 'rtsp://***@10.0.0.2/stream'],
    ['https://cam.example/snap?token=abc&w=1', 'https://cam.example/snap?token=***&w=***'],
    ['mqtt://broker:1883', 'mqtt://broker:1883'],
  ])('redacts %s', (url, wanted) => {
    expect(redactUrl(url)).toBe(wanted);
  });

  it('never writes a secret that stands under its name', () => {
    const lines: string[] = [];
    createLog('info', { write: (line) => void lines.push(line) }).info(
      { password: 'x1', mqtt: { password: 'x2' }, url: 'y' },
      'm',
    );
    expect(lines.join('')).not.toMatch(/x1|x2/);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info', msg: 'm', url: 'y' });
  });
});
