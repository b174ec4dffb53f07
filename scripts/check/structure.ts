// The rules for the files of src/ that no linter knows: places, sizes, import rules and names.

export interface SourceFile {
  /** Relative to src/, such as `mqtt/link/session.ts`. */
  readonly path: string;
  readonly text: string;
}

export interface StructureRules {
  /** Names of the rules in .dependency-cruiser.cjs; each directory has one, such as `imports-of-mqtt-link`. */
  readonly importRules: ReadonlySet<string>;
  /** Exported names that may exist in more files than MAX_FILES_PER_NAME, each with the reason. */
  readonly sharedNames: Readonly<Record<string, string>>;
}

export interface StructureReport {
  readonly faults: readonly string[];
  readonly files: number;
  readonly lines: number;
  readonly medianLines: number;
}

const MEDIAN_LINES = { min: 80, max: 120 };
const MAX_LINES = 300;
/** How the first line of a longer file begins. */
const REASON_FOR_LENGTH = '// Longer than 300 lines because ';
const MAX_FILES_PER_NAME = 2;
const FILES_OF_SRC = ['agent.ts', 'main.ts'];

export function checkStructure(files: readonly SourceFile[], rules: StructureRules): StructureReport {
  const sizes = files.map(({ text }) => countLines(text)).toSorted((a, b) => a - b);
  const medianLines = sizes[sizes.length >> 1] ?? 0;
  const median =
    medianLines < MEDIAN_LINES.min || medianLines > MEDIAN_LINES.max
      ? [`the median file has ${medianLines} lines, not ${MEDIAN_LINES.min} to ${MEDIAN_LINES.max}`]
      : [];
  return {
    faults: [
      ...median,
      ...findLooseFiles(files),
      ...findLongFiles(files),
      ...findUnruledDirectories(files, rules),
      ...findSharedNames(files, rules),
    ],
    files: files.length,
    lines: sizes.reduce((sum, size) => sum + size, 0),
    medianLines,
  };
}

const countLines = (text: string): number => text.split('\n').length - (text.endsWith('\n') ? 1 : 0);

function findLooseFiles(files: readonly SourceFile[]): readonly string[] {
  const loose = files.map(({ path }) => path).filter((path) => !path.includes('/'));
  return [
    ...loose
      .filter((path) => !FILES_OF_SRC.includes(path))
      .map((path) => `src/${path} belongs in a directory of src/`),
    ...FILES_OF_SRC.filter((path) => !loose.includes(path)).map((path) => `src/${path} is missing`),
  ];
}

function findLongFiles(files: readonly SourceFile[]): readonly string[] {
  return files
    .filter(({ text }) => countLines(text) > MAX_LINES && !text.startsWith(REASON_FOR_LENGTH))
    .map(
      ({ path, text }) =>
        `src/${path} has ${countLines(text)} lines; split it, or begin it with "${REASON_FOR_LENGTH}…"`,
    );
}

function findUnruledDirectories(
  files: readonly SourceFile[],
  { importRules }: StructureRules,
): readonly string[] {
  const directories = new Set<string>();
  for (const { path } of files) {
    const parts = path.split('/').slice(0, -1);
    for (let depth = 1; depth <= parts.length; depth += 1) directories.add(parts.slice(0, depth).join('/'));
  }
  return [...directories]
    .filter((directory) => !importRules.has(`imports-of-${directory.replaceAll('/', '-')}`))
    .map((directory) => `src/${directory}/ has no import rule in .dependency-cruiser.cjs`);
}

function findSharedNames(files: readonly SourceFile[], { sharedNames }: StructureRules): readonly string[] {
  const paths = new Map<string, Set<string>>();
  for (const { path, text } of files)
    for (const name of exportedNames(text)) paths.set(name, (paths.get(name) ?? new Set()).add(path));
  const shared = [...paths].filter(([, owners]) => owners.size > MAX_FILES_PER_NAME);
  return [
    ...shared
      .filter(([name]) => sharedNames[name] === undefined)
      .map(([name, owners]) => `"${name}" is exported by ${owners.size} files: ${[...owners].join(', ')}`),
    ...Object.keys(sharedNames)
      .filter((name) => !shared.some(([one]) => one === name))
      .map((name) => `remove "${name}" from scripts/check/exported-names.json: few files export it`),
  ];
}

/** The names that a file declares and exports, or exports in braces; not those that it passes on from another file. */
export function exportedNames(text: string): readonly string[] {
  const declarations =
    /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|const|let|class|interface|type|enum) (\w+)/gm;
  const lists = /^export (?:type )?\{([^}]*)\}(?! from)/gm;
  return [
    ...[...text.matchAll(declarations)].map(([, name = '']) => name),
    ...[...text.matchAll(lists)].flatMap(([, list = '']) =>
      list
        .split(',')
        .map((item) => item.replace(/^\s*type /, '').trim())
        .filter((item) => item !== '')
        .map((item) => item.split(' as ').at(-1) ?? item),
    ),
  ];
}
