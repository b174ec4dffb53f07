import { existsSync } from 'node:fs';
import { chown, lstat, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { closeAtEnd } from '../base/closing.ts';
import { AgentError, ERROR_CODES, type ErrorCode } from '../base/errors.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import { PreflightReport, type InstalledVersion } from '../contract/update-files.ts';
import { mainOf, nodeOf, type UpdaterPaths } from './paths.ts';
import { checkSpace } from './platform.ts';
import type { ProgramResult, ServiceControl } from './service-control.ts';

const isReport = schemaChecker({ strict: true, validateFormats: false }).compile<PreflightReport>(
  PreflightReport,
);

/** Enough for the shipped model beside the running agent on a board with 1 GB. */
const MAX_MEMORY_MB = 512;
/** A board with one slow core and an SD card copies and migrates a large database in this time. */
const MAX_SECONDS = 600;
const COPY_DIR = 'preflight';
const DATABASE = ['swellsight.db', 'swellsight.db-wal'];
/** The copy of the database and its temporary files. */
const COPY_FILES = 8;

/**
 * Runs `swellsight agent preflight` of a version as the service user: native modules, golden outputs, configuration, and
 * the migration of a copy of the database. Throws `update_space` when there is no space for the copy, the reason that the
 * version reports, or `update_preflight_failed`.
 */
export async function runPreflight(
  version: InstalledVersion,
  paths: UpdaterPaths,
  control: ServiceControl,
  signal: AbortSignal,
): Promise<void> {
  const copy = join(paths.state, COPY_DIR);
  await removePreflightCopy(paths.state, control);
  const bytes = await databaseBytes(dirname(paths.requests));
  await checkSpace([{ dir: paths.state, bytes, files: COPY_FILES }]);
  await mkdir(copy, { mode: 0o700 });
  await using _removed = closeAtEnd(() => removePreflightCopy(paths.state, control));
  const { uid, gid } = await control.owner();
  await chown(copy, uid, gid);
  const result = await control.runLimited(
    {
      program: nodeOf(paths.root, version),
      args: [
        mainOf(paths.root, version),
        'agent',
        'preflight',
        '--config',
        paths.config,
        '--state-copy',
        copy,
      ],
      writable: [copy],
      maxMemoryMb: MAX_MEMORY_MB,
      maxSeconds: MAX_SECONDS,
    },
    signal,
  );
  checkResult(result);
}

/** The size of the database with its log; 0 without one. */
async function databaseBytes(agentDir: string): Promise<number> {
  const sizes = DATABASE.map((name) =>
    lstat(join(agentDir, name)).then(
      (stats) => (stats.isFile() ? stats.size : 0),
      () => 0,
    ),
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** Ends a preflight that outlived its updater, and removes its copy of the database. */
export async function removePreflightCopy(
  stateDir: string,
  control: Pick<ServiceControl, 'stopLimited'>,
): Promise<void> {
  const copy = join(stateDir, COPY_DIR);
  if (!existsSync(copy)) return;
  await control.stopLimited();
  await rm(copy, { recursive: true, force: true });
}

function checkResult({ exitCode, stdout, stderr }: ProgramResult): void {
  const report = parseReport(stdout);
  if (exitCode === 0 && report?.ok === true) return;
  const { code, message } = report?.reason ?? {};
  if (code !== undefined && Object.hasOwn(ERROR_CODES, code))
    throw new AgentError(code as ErrorCode, `the preflight failed: ${message ?? ''}`);
  const last = stderr.trim().split('\n').at(-1)?.slice(0, 200) ?? '';
  throw new AgentError(
    'update_preflight_failed',
    message ?? `the preflight ended with status ${exitCode}${last === '' ? '' : `: ${last}`}`,
  );
}

function parseReport(stdout: string): PreflightReport | null {
  try {
    const report: unknown = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
    return isReport(report) ? report : null;
  } catch {
    return null;
  }
}
