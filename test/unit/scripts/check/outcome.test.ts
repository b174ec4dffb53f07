import { describe, expect, it } from 'vitest';
import {
  findFailedFiles,
  judgeRuns,
  listSlowestFiles,
  readRun,
  type Note,
} from '../../../../scripts/check/outcome.ts';

const text = (...notes: Note[]): string => notes.map((note) => `${JSON.stringify(note)}\n`).join('');
const ended = (file: string, tests: Record<string, 'passed' | 'failed' | 'skipped'>, errors: string[] = []) =>
  ({
    kind: 'ended',
    file,
    durationS: 1,
    tests: Object.entries(tests).map(([name, state]) => ({ name, state })),
    errors,
  }) as const;
const complete = (...unhandled: { file: string | null; message: string }[]): Note => ({
  kind: 'complete',
  unhandled,
});
const planned = (...files: string[]): Note => ({ kind: 'planned', files });

describe('judgeRuns', () => {
  it('counts passed and failed tests, and lists those that failed or did not run', () => {
    const run = readRun(
      text(
        planned('a', 'b'),
        ended('a', { x: 'passed', y: 'failed' }),
        ended('b', { z: 'skipped' }),
        complete(),
      ),
    );
    expect(findFailedFiles(run)).toEqual(['a']);
    expect(judgeRuns(run, null)).toEqual({
      passed: 1,
      failed: 1,
      lines: ['failed: a > y', 'not run: b > z'],
      secondTryFiles: [],
    });
  });

  it('counts a test as passed that passed in one of two runs, and lists it', () => {
    const first = readRun(
      text(ended('a', { x: 'failed', y: 'passed', z: 'failed' }), ended('b', { x: 'passed' }), complete()),
    );
    const second = readRun(text(ended('a', { x: 'passed', y: 'failed', z: 'failed' }), complete()));
    expect(judgeRuns(first, second)).toEqual({
      passed: 3,
      failed: 1,
      lines: [
        'passed only at the second try: a > x',
        'failed only at the second try: a > y',
        'failed: a > z',
      ],
      // The file has a failed test left.
      secondTryFiles: [],
    });
  });

  it('fails for an error outside of the tests, unless the second try has none', () => {
    const first = readRun(
      text(
        ended('a', { x: 'skipped' }, ['no broker']),
        ended('b', { x: 'passed' }),
        complete({ file: 'b', message: 'nobody caught' }),
      ),
    );
    expect(findFailedFiles(first)).toEqual(['a', 'b']);
    expect(judgeRuns(first, null)).toEqual({
      passed: 1,
      failed: 2,
      lines: [
        'not run: a > x',
        'failed outside of its tests: a: no broker',
        'failed outside of its tests: b: nobody caught',
      ],
      secondTryFiles: [],
    });
    const second = readRun(text(ended('a', { x: 'passed' }), ended('b', { x: 'passed' }), complete()));
    expect(judgeRuns(first, second)).toMatchObject({ passed: 2, failed: 0, secondTryFiles: ['a', 'b'] });
    expect(judgeRuns(first, second).lines).toContain(
      'passed only at the second try, failed outside of its tests: b: nobody caught',
    );
    expect(judgeRuns(first, first).failed).toBe(2);
  });

  it('fails for an error that belongs to no file', () => {
    const run = readRun(text(ended('a', { x: 'passed' }), complete({ file: null, message: 'lost' })));
    expect(findFailedFiles(run)).toEqual([]);
    expect(judgeRuns(run, null)).toEqual({
      passed: 1,
      failed: 1,
      lines: ['failed outside of all files: lost'],
      secondTryFiles: [],
    });
  });

  it('gives the file of a dead worker a second try', () => {
    const died: Note[] = [planned('a'), { kind: 'started', file: 'a' }];
    const first = readRun(text(...died, complete({ file: null, message: 'worker exited' })));
    expect(findFailedFiles(first)).toEqual(['a']);
    expect(judgeRuns(first, null)).toEqual({
      passed: 0,
      failed: 1,
      lines: ['not finished: a'],
      secondTryFiles: [],
    });
    const second = readRun(text(ended('a', { x: 'passed' }), complete()));
    expect(judgeRuns(first, second)).toMatchObject({ passed: 1, failed: 0 });
  });

  it('lists unfinished and waiting files of a run that was cut short within a line', () => {
    const whole = text(planned('a', 'b', 'c'), ended('a', { x: 'passed' }), { kind: 'started', file: 'b' });
    const run = readRun(`${whole}{"kind":"ended","fi`);
    expect(run.isComplete).toBe(false);
    // A second try of a file that took too long would take too long again.
    expect(findFailedFiles(run)).toEqual([]);
    expect(judgeRuns(run, null)).toEqual({
      passed: 1,
      failed: 2,
      lines: ['not finished: b', 'not started: c'],
      secondTryFiles: [],
    });
  });

  it('counts two tests of one name separately', () => {
    const twice = (first: 'passed' | 'failed', second: 'passed' | 'failed'): Note => ({
      ...ended('a', {}),
      tests: [
        { name: 'x', state: first },
        { name: 'x', state: second },
      ],
    });
    const run = readRun(text(twice('passed', 'failed'), complete()));
    expect(judgeRuns(run, readRun(text(twice('passed', 'failed'), complete())))).toMatchObject({
      passed: 1,
      failed: 1,
    });
  });

  it('fails when no test ran, and lists the slowest files', () => {
    expect(judgeRuns(readRun(''), null)).toMatchObject({ passed: 0, failed: 1 });
    const run = readRun(text({ ...ended('a', {}), durationS: 2 }, { ...ended('b', {}), durationS: 30.25 }));
    expect(listSlowestFiles(run, 1)).toEqual(['  30.3 s  b']);
  });
});
