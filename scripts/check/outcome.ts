// The results of one or two runs of the test files.

export interface TestOutcome {
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
}

export interface FileOutcome {
  /** Relative to the root of the project. */
  readonly file: string;
  readonly durationS: number;
  readonly tests: readonly TestOutcome[];
  /** Errors outside of the tests: hooks, imports, unhandled rejections. */
  readonly errors: readonly string[];
  readonly state: 'waiting' | 'running' | 'ended';
}

export interface Run {
  readonly files: readonly FileOutcome[];
  /** Errors that belong to no file. */
  readonly strayErrors: readonly string[];
  /** False when the run was cut short. */
  readonly isComplete: boolean;
}

/** One line of the file that the reporter writes. */
export type Note =
  | { readonly kind: 'planned'; readonly files: readonly string[] }
  | { readonly kind: 'started'; readonly file: string }
  | ({ readonly kind: 'ended' } & Omit<FileOutcome, 'state'>)
  | {
      readonly kind: 'complete';
      readonly unhandled: readonly { readonly file: string | null; readonly message: string }[];
    };

export interface Verdict {
  readonly passed: number;
  readonly failed: number;
  /** One line for each test or file that failed, did not run, or needed the second try. */
  readonly lines: readonly string[];
  /** Files that failed at first and passed at the second try. */
  readonly secondTryFiles: readonly string[];
}

/** Reads the reporter's file: one JSON document a line. The last line may be incomplete. */
export function readRun(text: string): Run {
  const files = new Map<string, FileOutcome>();
  let unhandled: Extract<Note, { kind: 'complete' }>['unhandled'] = [];
  let isComplete = false;
  const update = (file: string, part: Partial<FileOutcome>): void => {
    const known = files.get(file) ?? { file, durationS: 0, tests: [], errors: [], state: 'waiting' };
    files.set(file, { ...known, ...part });
  };
  for (const line of text.split('\n').slice(0, -1)) {
    const note = JSON.parse(line) as Note;
    if (note.kind === 'planned') for (const file of note.files) update(file, {});
    else if (note.kind === 'started') update(note.file, { state: 'running' });
    else if (note.kind === 'ended') {
      const { file, durationS, tests, errors } = note;
      update(file, { durationS, tests, errors, state: 'ended' });
    } else {
      isComplete = true;
      ({ unhandled } = note);
    }
  }
  // When a worker dies, vitest does not name its file: it is one that has not ended.
  const unfinished = [...files.values()]
    .filter(({ state }) => isComplete && state !== 'ended')
    .map(({ file }) => file);
  const strayErrors: string[] = [];
  for (const { file, message } of unhandled) {
    const owners = file === null ? unfinished : [file];
    for (const owner of owners) update(owner, { errors: [...(files.get(owner)?.errors ?? []), message] });
    if (owners.length === 0) strayErrors.push(message);
  }
  return { files: [...files.values()], strayErrors, isComplete };
}

/** The files with any failure: they get a second try. */
export function findFailedFiles({ files, isComplete }: Run): readonly string[] {
  return files
    .filter(
      ({ state, tests, errors }) =>
        errors.length > 0 ||
        (isComplete && state !== 'ended') ||
        tests.some((test) => test.state === 'failed'),
    )
    .map(({ file }) => file);
}

/** Counts a test as passed when it passed in at least one of the two runs. */
export function judgeRuns(first: Run, second: Run | null): Verdict {
  const lines: string[] = [];
  const secondTryFiles = new Set<string>();
  const failedFiles = new Set<string>();
  let [passed, failed] = [0, 0];
  for (const outcome of first.files) {
    const { file } = outcome;
    const again = second?.files.find((one) => one.file === file && one.state === 'ended') ?? null;
    const fail = (line: string): void => {
      failed += 1;
      failedFiles.add(file);
      lines.push(line);
    };
    const [firstTests, secondTests] = [indexByName(outcome.tests), indexByName(again?.tests ?? [])];
    for (const key of new Set([...firstTests.keys(), ...secondTests.keys()])) {
      const name = `${file} > ${(firstTests.get(key) ?? secondTests.get(key))?.name ?? ''}`;
      const states = [firstTests.get(key)?.state, secondTests.get(key)?.state];
      if (states.includes('passed')) {
        passed += 1;
        if (states[0] !== 'passed') {
          secondTryFiles.add(file);
          lines.push(`passed only at the second try: ${name}`);
        } else if (states[1] === 'failed') lines.push(`failed only at the second try: ${name}`);
      } else if (states.includes('failed')) fail(`failed: ${name}`);
      else lines.push(`not run: ${name}`);
    }
    if (outcome.state !== 'ended' && again === null)
      fail(`${outcome.state === 'running' ? 'not finished' : 'not started'}: ${file}`);
    else if (outcome.errors.length > 0) {
      const description = `outside of its tests: ${file}: ${outcome.errors.join('; ')}`;
      if (again?.errors.length === 0) {
        secondTryFiles.add(file);
        lines.push(`passed only at the second try, failed ${description}`);
      } else fail(`failed ${description}`);
    }
  }
  for (const error of first.strayErrors) {
    failed += 1;
    lines.push(`failed outside of all files: ${error}`);
  }
  if (passed + failed === 0) {
    failed += 1;
    lines.push('no test was run');
  }
  return {
    passed,
    failed,
    lines,
    secondTryFiles: [...secondTryFiles].filter((file) => !failedFiles.has(file)),
  };
}

/** One line for each of the slowest files, the slowest first. */
export function listSlowestFiles({ files }: Run, count: number): readonly string[] {
  return files
    .toSorted((a, b) => b.durationS - a.durationS)
    .slice(0, count)
    .map(({ file, durationS }) => `${durationS.toFixed(1).padStart(6)} s  ${file}`);
}

/** The key tells tests of one name apart by their order. */
function indexByName(tests: readonly TestOutcome[]): Map<string, TestOutcome> {
  const index = new Map<string, TestOutcome>();
  for (const test of tests) {
    let nth = 1;
    while (index.has(`${nth} ${test.name}`)) nth += 1;
    index.set(`${nth} ${test.name}`, test);
  }
  return index;
}
