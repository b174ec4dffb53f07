import { describe, expect, it } from 'vitest';
import { EVENT_TYPES } from '../../../../../src/contract/events.ts';
import type { Event } from '../../../../../src/contract/states.ts';
import { adviceOf, eventRemedy, sentence } from '../../../../../src/web/device/agent/code-advice.ts';
import { mergeEvents } from '../../../../../src/web/device/agent/event-list.ts';
import { parseLogLines, searchLines } from '../../../../../src/web/device/agent/log-lines.ts';
import { stepsOf, withProgress } from '../../../../../src/web/device/agent/progress.ts';

const PHASES = ['requested', 'downloading', 'testing', 'committed', 'failed'];
const WAY = PHASES.slice(0, -1);
const TRANSFER = { update_id: 'a', phase: 'downloading', bytes: 10, total_bytes: 100, percent: 10, other: 1 };

describe('The progress of an install', () => {
  it('follows newer messages of the same install only', () => {
    const newer = { update_id: 'a', phase: 'testing', bytes: 100, total_bytes: null, percent: null };
    expect(withProgress(TRANSFER, newer, PHASES)).toEqual({ ...newer, other: 1 });
    for (const ignored of [
      { ...newer, update_id: 'b' },
      { ...newer, phase: 'requested' },
      { ...newer, phase: 'dancing' },
      { ...newer, bytes: '100' },
      null,
      'text',
    ])
      expect(withProgress(TRANSFER, ignored, PHASES)).toBe(TRANSFER);
  });

  it('shows which steps are done, and a failure as the only step', () => {
    const states = (phase: string) => stepsOf(phase, WAY).map(({ state }) => state);
    expect(states('downloading')).toEqual(['done', 'now', 'ahead', 'ahead']);
    expect(states('committed')).toEqual(['done', 'done', 'done', 'done']);
    expect(states('failed')).toEqual(['failed']);
  });
});

const event = (seq: number, severity: Event['severity']): Event => ({
  schema: 'swellsight.event/1',
  id: `id-${String(seq)}`,
  seq,
  at: '2026-05-01T06:00:00.000Z',
  type: 'camera_state',
  severity,
  code: 'up',
  message: 'a camera',
  context: {},
});

describe('The events', () => {
  it('are merged from both sources, each once, newest first, and only the wanted ones', () => {
    const live = [event(5, 'info'), event(4, 'error')];
    const loaded = [event(4, 'error'), event(3, 'warning'), event(2, 'info')];
    const numbers = (severity: Event['severity']) =>
      mergeEvents(live, loaded, severity).map(({ seq }) => seq);
    expect(numbers('info')).toEqual([5, 4, 3, 2]);
    expect(numbers('warning')).toEqual([4, 3]);
    expect(numbers('error')).toEqual([4]);
  });

  it('have the remedy of their code, or of their type', () => {
    expect(eventRemedy({ type: 'vision_exited', code: 'vision_crashed' })).toMatch(/^Wait: .+\.$/);
    expect(eventRemedy({ type: 'outbox_dropped', code: 'outbox_dropped' })).toMatch(
      /^Restore the connection/,
    );
    expect(eventRemedy({ type: 'model_rollback', code: 'model_rollback' })).toBe('');
    for (const type of Object.keys(EVENT_TYPES))
      expect(eventRemedy({ type, code: type })).not.toContain('remedy of the code');
    expect(adviceOf('toString')).toEqual({ meaning: '', remedy: '' });
    for (const [text, whole] of [
      ['', ''],
      ['a fault', 'A fault.'],
      ['Done!', 'Done!'],
      ['depth 1.0.0 is installed', 'depth 1.0.0 is installed.'],
      ['wrong-golden 1.0.0 failed', 'wrong-golden 1.0.0 failed.'],
    ] as const)
      expect(sentence(text)).toBe(whole);
  });
});

describe('The log', () => {
  it('is read newest first, also lines that are no JSON object', () => {
    const line = { level: 'warn', time: '2026-05-01T06:00:00.000Z', part: 'mqtt', msg: 'lost', code: 'x' };
    expect(parseLogLines([JSON.stringify(line), 'plain', '[1'])).toEqual([
      { at: '', level: '', part: '', message: '[1', rest: '' },
      { at: '', level: '', part: '', message: 'plain', rest: '' },
      { at: line.time, level: 'warn', part: 'mqtt', message: 'lost', rest: '{"code":"x"}' },
    ]);
  });

  it('is searched by all words, in any letter case', () => {
    const lines = parseLogLines(['{"part":"mqtt","msg":"Link lost"}', '{"part":"http","msg":"lost"}']);
    expect(searchLines(lines, ' LOST mqtt ').map(({ message }) => message)).toEqual(['Link lost']);
    expect(searchLines(lines, '')).toHaveLength(2);
  });
});
