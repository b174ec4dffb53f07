import { createHash } from 'node:crypto';
import { chmodSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readMigrations, schemaRange } from '../../src/store/file/migrations.ts';
import { NODE_VERSION } from '../setup.mjs';
import { MIN_GLIBC, type Architecture } from './platform.ts';
import { listFiles } from './prune.ts';

/** The document `release.json` of an archive. The updater checks each file of an unpacked archive against it. */
export interface Release {
  readonly format: 1;
  readonly name: string;
  readonly version: string;
  readonly commit: string;
  readonly arch: Architecture;
  /** The oldest C library that the native modules accept. */
  readonly glibc: string;
  /** Number of the newest migration of the database. */
  readonly schema: number;
  /** The oldest schema whose agent can use the database of this version. */
  readonly compatible_from: number;
  readonly node: string;
  /** Every other file of the archive by its path. */
  readonly files: Readonly<
    Record<string, { readonly sha256: string; readonly size: number; readonly mode: number }>
  >;
}

/** Describes the content of `stage`, and sets the modes of its files: 0755 or 0644, for any umask. */
export function describeRelease(stage: string, arch: Architecture, commit: string): Release {
  const { name, version } = JSON.parse(readFileSync(join(stage, 'package.json'), 'utf8')) as {
    readonly name: string;
    readonly version: string;
  };
  const files = listFiles(stage).map((path) => {
    const file = join(stage, path);
    const content = readFileSync(file);
    // Nothing in node_modules is started as a program; npm sets modes there by the umask.
    const isExecutable = !path.startsWith('node_modules/') && (statSync(file).mode & 0o100) !== 0;
    const mode = isExecutable ? 0o755 : 0o644;
    chmodSync(file, mode);
    return [
      path,
      { sha256: createHash('sha256').update(content).digest('hex'), size: content.length, mode },
    ] as const;
  });
  const { schema, compatibleFrom } = schemaRange(readMigrations(join(stage, 'dist/store/migrations')));
  return {
    format: 1,
    name,
    version,
    commit,
    arch,
    glibc: MIN_GLIBC,
    schema,
    compatible_from: compatibleFrom,
    node: NODE_VERSION,
    files: Object.fromEntries(files),
  };
}
