import { describe, expect, it } from 'vitest';
import { failedFiles, judge, readRun, slowest, type Note } from '../../../scripts/check/outcome.ts';

const text = (...notes: Note[]): string => notes.map((note) => `${JSON.stringify(note)}\n`).join('');
const ended = (file: string, tests: Record<string, 'passed' | 'failed' | 'skipped'>, errors: string[] = []) =>
  ({
    kind: 'ended',
    file,
    seconds: 1,
    tests: Object.entries(tests).map(([name, state]) => ({ name, state })),
    errors,
  }) as const;
const over = (...unhandled: { file: string | null; message: string }[]): Note => ({
  kind: 'over',
  unhandled,
});
const planned = (...files: string[]): Note => ({ kind: 'planned', files });

describe('the outcome of the tests', () => {
  it('counts what passed and failed, and names what failed and what was not run', () => {
    const run = readRun(
      text(planned('a', 'b'), ended('a', { x: 'passed', y: 'failed' }), ended('b', { z: 'skipped' }), over()),
    );
    expect(failedFiles(run)).toEqual(['a']);
    expect(judge(run, null)).toEqual({
      passed: 1,
      failed: 1,
      lines: ['failed: a > y', 'not run: b > z'],
    });
  });

  it('takes the better of two runs, and is never silent about it', () => {
    const first = readRun(
      text(ended('a', { x: 'failed', y: 'passed', z: 'failed' }), ended('b', { x: 'passed' }), over()),
    );
    const second = readRun(text(ended('a', { x: 'passed', y: 'failed', z: 'failed' }), over()));
    expect(judge(first, second)).toEqual({
      passed: 3,
      failed: 1,
      lines: [
        'passed only when run again alone: a > x',
        'failed only when run again alone: a > y',
        'failed: a > z',
      ],
    });
  });

  it('fails for what goes wrong outside of tests, unless it goes well alone', () => {
    const first = readRun(
      text(
        ended('a', { x: 'skipped' }, ['no broker']),
        ended('b', { x: 'passed' }),
        over({ file: 'b', message: 'nobody caught' }),
      ),
    );
    expect(failedFiles(first)).toEqual(['a', 'b']);
    expect(judge(first, null)).toEqual({
      passed: 1,
      failed: 2,
      lines: [
        'not run: a > x',
        'failed outside of its tests: a: no broker',
        'failed outside of its tests: b: nobody caught',
      ],
    });
    const second = readRun(text(ended('a', { x: 'passed' }), ended('b', { x: 'passed' }), over()));
    expect(judge(first, second)).toMatchObject({ passed: 2, failed: 0 });
    expect(judge(first, second).lines).toContain(
      'went well only when run again alone, failed outside of its tests: b: nobody caught',
    );
    expect(judge(first, first).failed).toBe(2);
  });

  it('fails for an error that belongs to no file', () => {
    const run = readRun(text(ended('a', { x: 'passed' }), over({ file: null, message: 'lost' })));
    expect(failedFiles(run)).toEqual([]);
    expect(judge(run, null)).toEqual({ passed: 1, failed: 1, lines: ['failed outside of all files: lost'] });
  });

  it('gives the file of a worker that died its second chance', () => {
    const died: Note[] = [planned('a'), { kind: 'started', file: 'a' }];
    const first = readRun(text(...died, over({ file: null, message: 'worker exited' })));
    expect(failedFiles(first)).toEqual(['a']);
    expect(judge(first, null)).toEqual({ passed: 0, failed: 1, lines: ['not finished: a'] });
    const second = readRun(text(ended('a', { x: 'passed' }), over()));
    expect(judge(first, second)).toMatchObject({ passed: 1, failed: 0 });
  });

  it('names what had not finished and not begun when it was cut short, in the middle of a line too', () => {
    const whole = text(planned('a', 'b', 'c'), ended('a', { x: 'passed' }), { kind: 'started', file: 'b' });
    const run = readRun(`${whole}{"kind":"ended","fi`);
    expect(run.over).toBe(false);
    // To run again what took too long would take too long again.
    expect(failedFiles(run)).toEqual([]);
    expect(judge(run, null)).toEqual({ passed: 1, failed: 2, lines: ['not finished: b', 'not begun: c'] });
  });

  it('keeps apart two tests of one name', () => {
    const twice = (first: 'passed' | 'failed', second: 'passed' | 'failed'): Note => ({
      ...ended('a', {}),
      tests: [
        { name: 'x', state: first },
        { name: 'x', state: second },
      ],
    });
    const run = readRun(text(twice('passed', 'failed'), over()));
    expect(judge(run, readRun(text(twice('passed', 'failed'), over())))).toMatchObject({
      passed: 1,
      failed: 1,
    });
  });

  it('calls nothing at all a failure, and tells the slowest', () => {
    expect(judge(readRun(''), null)).toMatchObject({ passed: 0, failed: 1 });
    const run = readRun(text({ ...ended('a', {}), seconds: 2 }, { ...ended('b', {}), seconds: 30.25 }));
    expect(slowest(run, 1)).toEqual(['  30.3 s  b']);
  });
});
