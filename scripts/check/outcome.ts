// What became of the tests: one run of them, and a second one of the few files that failed.

export interface TestOutcome {
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
}

export interface FileOutcome {
  /** Relative to the root of the project. */
  readonly file: string;
  readonly seconds: number;
  readonly tests: readonly TestOutcome[];
  /** What went wrong outside of its tests: hooks, imports, rejections that nobody handled. */
  readonly errors: readonly string[];
  readonly state: 'waiting' | 'running' | 'ended';
}

export interface Run {
  readonly files: readonly FileOutcome[];
  /** Errors that belong to no file. */
  readonly strays: readonly string[];
  /** False when it was cut short. */
  readonly over: boolean;
}

/** One line of the reporter's file. */
export type Note =
  | { readonly kind: 'planned'; readonly files: readonly string[] }
  | { readonly kind: 'started'; readonly file: string }
  | ({ readonly kind: 'ended' } & Omit<FileOutcome, 'state'>)
  | {
      readonly kind: 'over';
      readonly unhandled: readonly { readonly file: string | null; readonly message: string }[];
    };

export interface Verdict {
  readonly passed: number;
  readonly failed: number;
  /** What is to be said of single tests and files. */
  readonly lines: readonly string[];
}

/** Reads what the reporter wrote, a JSON document a line; the last line may be half of one. */
export function readRun(text: string): Run {
  const files = new Map<string, FileOutcome>();
  let unhandled: Extract<Note, { kind: 'over' }>['unhandled'] = [];
  let over = false;
  const set = (file: string, part: Partial<FileOutcome>): void => {
    const known = files.get(file) ?? { file, seconds: 0, tests: [], errors: [], state: 'waiting' };
    files.set(file, { ...known, ...part });
  };
  for (const line of text.split('\n').slice(0, -1)) {
    const note = JSON.parse(line) as Note;
    if (note.kind === 'planned') for (const file of note.files) set(file, {});
    else if (note.kind === 'started') set(note.file, { state: 'running' });
    else if (note.kind === 'ended') {
      const { file, seconds, tests, errors } = note;
      set(file, { seconds, tests, errors, state: 'ended' });
    } else {
      over = true;
      ({ unhandled } = note);
    }
  }
  // A worker that dies takes its file along, and vitest does not say which it was.
  const broken = [...files.values()].filter(({ state }) => over && state !== 'ended').map(({ file }) => file);
  const strays: string[] = [];
  for (const { file, message } of unhandled) {
    const owners = file === null ? broken : [file];
    for (const owner of owners) set(owner, { errors: [...(files.get(owner)?.errors ?? []), message] });
    if (owners.length === 0) strays.push(message);
  }
  return { files: [...files.values()], strays, over };
}

/** Files that are to be run once more: those in which anything failed. */
export function failedFiles({ files, over }: Run): readonly string[] {
  return files
    .filter(
      ({ state, tests, errors }) =>
        errors.length > 0 || (over && state !== 'ended') || tests.some((test) => test.state === 'failed'),
    )
    .map(({ file }) => file);
}

/** A test is as good as the better of its runs; one that needed the second is named. */
export function judge(first: Run, second: Run | null): Verdict {
  const lines: string[] = [];
  let [passed, failed] = [0, 0];
  const fail = (line: string): void => {
    failed += 1;
    lines.push(line);
  };
  for (const file of first.files) {
    const again = second?.files.find((one) => one.file === file.file && one.state === 'ended') ?? null;
    const [before, after] = [byName(file.tests), byName(again?.tests ?? [])];
    for (const key of new Set([...before.keys(), ...after.keys()])) {
      const name = `${file.file} > ${(before.get(key) ?? after.get(key))?.name ?? ''}`;
      const states = [before.get(key)?.state, after.get(key)?.state];
      if (states.includes('passed')) {
        passed += 1;
        if (states[0] !== 'passed') lines.push(`passed only when run again alone: ${name}`);
        else if (states[1] === 'failed') lines.push(`failed only when run again alone: ${name}`);
      } else if (states.includes('failed')) fail(`failed: ${name}`);
      else lines.push(`not run: ${name}`);
    }
    if (file.state !== 'ended' && again === null)
      fail(`${file.state === 'running' ? 'not finished' : 'not begun'}: ${file.file}`);
    else if (file.errors.length > 0) {
      const said = `outside of its tests: ${file.file}: ${file.errors.join('; ')}`;
      if (again?.errors.length === 0) lines.push(`went well only when run again alone, failed ${said}`);
      else fail(`failed ${said}`);
    }
  }
  for (const stray of first.strays) fail(`failed outside of all files: ${stray}`);
  if (passed + failed === 0) fail('no test was run');
  return { passed, failed, lines };
}

/** The files that took longest, first the longest, as lines. */
export function slowest({ files }: Run, count: number): readonly string[] {
  return files
    .toSorted((a, b) => b.seconds - a.seconds)
    .slice(0, count)
    .map(({ file, seconds }) => `${seconds.toFixed(1).padStart(6)} s  ${file}`);
}

/** By name and, where two tests of a file share one, by which of them it is. */
function byName(tests: readonly TestOutcome[]): Map<string, TestOutcome> {
  const found = new Map<string, TestOutcome>();
  for (const test of tests) {
    let nth = 1;
    while (found.has(`${nth} ${test.name}`)) nth += 1;
    found.set(`${nth} ${test.name}`, test);
  }
  return found;
}
