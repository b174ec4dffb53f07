import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface Sources {
  /** The full commit id, with `-modified` when the files differ from that commit. */
  readonly commit: string;
  /** Time of the commit, s since 1970. All files of the archive have this time. */
  readonly commitTimeS: number;
  readonly files: readonly SourceFile[];
}

interface SourceFile {
  /** Relative to the checkout. */
  readonly path: string;
  readonly isExecutable: boolean;
}

/** What the build and the archive need. Other files of the checkout do not change the archive. */
const PATHS = [
  'src',
  'bin',
  'config',
  'models',
  'systemd',
  'docs/generated/openapi.json',
  'scripts/install.sh',
  'scripts/copy-assets.mjs',
  'scripts/build-web.mjs',
  'scripts/setup.mjs',
  'package.json',
  'package-lock.json',
  '.npmrc',
  'tsconfig.json',
  'tsconfig.build.json',
  'LICENSE',
  'THIRD_PARTY_NOTICES.md',
];

/** Lists the sources of a git checkout: the files that git tracks, and new ones that it does not ignore. */
export function listSources(checkout: string): Sources {
  const git = (...args: readonly string[]): string => {
    const { status, stdout, stderr, error } = spawnSync('git', args, {
      cwd: checkout,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    if (status !== 0)
      throw new Error(
        `the package is built from a git checkout: git ${args[0] ?? ''}: ${error?.message ?? stderr}`,
      );
    return stdout;
  };
  const [commit = '', commitTimeS = ''] = git('log', '-1', '--format=%H %ct').trim().split(' ');
  const isModified =
    git('status', '--porcelain', '--untracked-files=all', '--', ...PATHS, 'scripts/package') !== '';
  const tracked = splitNul(git('ls-files', '-z', '--stage', '--', ...PATHS)).map((line) => {
    const [stage = '', path = ''] = line.split('\t');
    return { path, isExecutable: stage.startsWith('100755') };
  });
  const added = splitNul(git('ls-files', '-z', '--others', '--exclude-standard', '--', ...PATHS)).map(
    (path) => ({
      path,
      isExecutable: (statSync(join(checkout, path)).mode & 0o100) !== 0,
    }),
  );
  const files = [...tracked, ...added].filter(({ path }) =>
    statSync(join(checkout, path), { throwIfNoEntry: false })?.isFile(),
  );
  return { commit: isModified ? `${commit}-modified` : commit, commitTimeS: Number(commitTimeS), files };
}

/** Copies files to the same paths in another directory; the modes are those in git, whatever the checkout has. */
export function copySources(checkout: string, files: readonly SourceFile[], target: string): void {
  for (const { path, isExecutable } of files) {
    const file = join(target, path);
    mkdirSync(dirname(file), { recursive: true });
    copyFileSync(join(checkout, path), file);
    chmodSync(file, isExecutable ? 0o755 : 0o644);
  }
}

const splitNul = (text: string): readonly string[] => text.split('\0').filter((part) => part !== '');
