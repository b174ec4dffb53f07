import { describe, expect, it } from 'vitest';
import { formatLine } from '../../../src/cli/console.ts';
import { renderLine } from '../../../src/cli/line.ts';

const time = '2026-06-01T12:34:56.789Z';
const line = (fields: object): string =>
  renderLine(formatLine(JSON.stringify({ level: 'info', time, part: 'camera', ...fields })), false);

describe('formatLine', () => {
  it('shows a height with its interval and its basis', () => {
    const text = line({
      msg: 'observation',
      camera: 'north',
      height_m: 1.4,
      low_m: 1.1,
      high_m: 1.8,
      basis: 'site_calibrated',
      seq: 3,
      labels: 12,
      id: 'x',
    });
    expect(text).toContain('12:34:56 camera');
    expect(text).toContain('north  1.40 m  (1.10 to 1.80, site_calibrated)');
  });

  it('shows a period with its interval beside the truth, and calls it simulated', () => {
    const fields = { msg: 'sea state', camera: 'sim', status: 'measured', seq: 1, id: 'x', simulated: true };
    expect(line({ ...fields, period_s: 10.24, low_s: 9.6, high_s: 10.91, truth_s: 10 })).toContain(
      'sim  period 10.2 s  (9.6 to 10.9)  truth 10.0 s  simulated  #1  x',
    );
    const refused = { ...fields, status: 'rejected', reasons: 'no_peak', period_s: null, simulated: false };
    expect(line(refused)).toContain('sim  no period  (rejected: no_peak)  #1');
  });

  it('shows why there is no height', () => {
    const text = line({
      msg: 'observation',
      camera: 'north',
      status: 'rejected',
      reasons: 'glare',
      height_m: null,
      seq: 3,
      labels: 0,
      id: 'x',
    });
    expect(text).toContain('no height  (rejected: glare)');
  });

  it('shows all other fields and the level, and returns lines that are not JSON unchanged', () => {
    expect(line({ msg: 'connected', broker: 'b:1883', level: 'warn' })).toContain(
      'WARN connected  broker=b:1883',
    );
    expect(formatLine('plain text\n')).toBe('plain text');
  });

  it('uses colours only on request', () => {
    expect(line({ msg: 'x' })).not.toContain('\u001b');
    expect(renderLine(formatLine(JSON.stringify({ level: 'error', time, msg: 'x' })), true)).toContain(
      '\u001b[31m',
    );
  });
});
