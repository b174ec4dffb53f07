import { Type, type Static } from '@sinclair/typebox';
import { ModelVersion } from './model.ts';
import { Count, Nullable, StringEnum, Time } from './schema-parts.ts';

// The files through which the agent (without privileges) and the updater (root) talk to each other. Each side checks the
// files of the other with these schemas. Unknown properties are allowed, because the two sides may have different versions.

/** SHA-256 of the archive of a version, 64 hexadecimal digits without a prefix. */
export const ArchiveDigest = Type.String({ pattern: '^[0-9a-f]{64}$' });
const UpdateId = Type.String({
  pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
  description: 'a UUID in lower case; a new one for each request',
});
const Reason = Type.Object({
  code: Type.String({ pattern: '^[a-z][a-z0-9_]{0,47}$' }),
  message: Type.String({ maxLength: 500 }),
});
const Format = Type.Literal(1);

/** One version of the agent. */
export const InstalledVersion = Type.Object({ version: ModelVersion, digest: ArchiveDigest });
export type InstalledVersion = Static<typeof InstalledVersion>;

/** Largest size of each of these files, bytes. A larger file is refused. */
export const MAX_UPDATE_FILE_BYTES = 64 * 1024;

/**
 * `{stateDir}/update/request.json`, written by the agent. In the same directory are the archive and the directory
 * `metadata/` with the TUF metadata as they were downloaded (`timestamp.json`, `2.snapshot.json`, …). The updater handles
 * each `id` once. The agent keeps the archive until `state.json` has a result, or a trial, with this id.
 */
export const UpdateRequest = Type.Object({
  format: Format,
  id: UpdateId,
  /**
   * `rollback`: returns to `last_good`, or to `factory`. During a trial it ends the trial: the former version runs again.
   */
  action: StringEnum(['install', 'rollback']),
  /** For `rollback`: null. */
  version: Nullable(ModelVersion),
  /** For `rollback`: null. */
  digest: Nullable(ArchiveDigest),
  /** Name of the archive in `update/`: `{digest}.tar.gz`. For `rollback`: null. */
  archive: Nullable(Type.String({ pattern: '^[0-9a-f]{64}\\.tar\\.gz$' })),
  /** For `rollback`: null. */
  metadata: Nullable(Type.Literal('metadata')),
  requested_at: Time,
  /**
   * Longest duration of the trial, s. An agent that captures rarely, for example only by day, needs more than the default
   * of 1800, and so does one that must store many observations.
   */
  trial_s: Type.Optional(Type.Integer({ minimum: 60, maximum: 172_800 })),
  /**
   * For `rollback` during a trial: why the version on trial is not good. With a reason, the updater bans it. Without one,
   * an operator only wants the former version back.
   */
  reason: Type.Optional(Reason),
});
export type UpdateRequest = Static<typeof UpdateRequest>;

/** `{stateDir}/update/confirm.json`, written by the version on trial when it meets all criteria. */
export const UpdateConfirmation = Type.Object({
  format: Format,
  /** `trial.id` of `state.json`. */
  trial: UpdateId,
  digest: ArchiveDigest,
});
export type UpdateConfirmation = Static<typeof UpdateConfirmation>;

/**
 * `{stateDir}/update/waiting.json`, written by the version on trial while it does not meet all criteria. It is not a part of
 * confirm.json, because an updater that does not know it must not take it for a confirmation.
 */
export const UpdateWaiting = Type.Object({
  format: Format,
  /** `trial.id` of `state.json`. */
  trial: UpdateId,
  /** The missing criteria, such as `broker` or `observations`. */
  missing: Type.Array(Type.String({ maxLength: 100 }), { maxItems: 100 }),
});
export type UpdateWaiting = Static<typeof UpdateWaiting>;

/** The version on trial, as in `state.json`. */
export const UpdateTrial = Type.Object({
  /** The id of the request. */
  id: UpdateId,
  action: StringEnum(['install', 'rollback']),
  version: ModelVersion,
  digest: ArchiveDigest,
  /** The version that runs again if the trial fails. */
  former: InstalledVersion,
  /** Starts of the version on trial. The fourth start returns to the former version instead. */
  starts: Count,
  /** When the trial fails: seconds since the machine was started, as in `/proc/uptime`. A reboot renews it. */
  deadline_at_uptime_s: Type.Number({ minimum: 0 }),
  /** `switching`: the service was not restarted yet. `returning`: the former version will be started. */
  phase: StringEnum(['switching', 'probation', 'returning']),
});
export type UpdateTrial = Static<typeof UpdateTrial>;

/** How a request ended. */
export const UpdateOutcome = Type.Object({
  /** The id of the request. */
  id: UpdateId,
  action: StringEnum(['install', 'rollback']),
  version: Nullable(ModelVersion),
  digest: Nullable(ArchiveDigest),
  /** `returned`: a trial failed. `refused`: nothing was changed. */
  status: StringEnum(['committed', 'returned', 'refused']),
  /** Null when committed. */
  code: Nullable(Type.String()),
  message: Type.String(),
  at: Time,
});
export type UpdateOutcome = Static<typeof UpdateOutcome>;

/** `state.json` of the updater; everyone may read it. */
export const UpdaterState = Type.Object({
  format: Format,
  running: InstalledVersion,
  /**
   * The version to which a rollback returns, unless it is banned; null when only the factory version is left. It was
   * confirmed, or it ran before the version was changed by hand. Never `running`.
   */
  last_good: Nullable(InstalledVersion),
  factory: InstalledVersion,
  /** Complete versions on the disk. */
  installed: Type.Array(InstalledVersion),
  banned: Type.Array(
    Type.Object({ version: ModelVersion, digest: ArchiveDigest, reason: Type.String(), at: Time }),
  ),
  trial: Nullable(UpdateTrial),
  /** What the updater does at present with a request; null when it waits. */
  working: Nullable(
    Type.Object({
      id: UpdateId,
      step: StringEnum(['verifying', 'unpacking', 'preflight']),
      /** More than 1 after an interruption, for example a power cut. */
      attempts: Count,
    }),
  ),
  last_result: Nullable(UpdateOutcome),
  /** Id of the last request that was handled: refused, or put on trial. */
  last_request: Nullable(UpdateId),
  updater_version: Type.String(),
});
export type UpdaterState = Static<typeof UpdaterState>;

/** The version to which a rollback returns while no trial is on; null when there is no other version that never failed. */
export function rollbackVersion(
  { last_good: lastGood, factory, banned }: UpdaterState,
  isRunning: (version: InstalledVersion) => boolean,
): InstalledVersion | null {
  const isUsable = (version: InstalledVersion): boolean =>
    !isRunning(version) && !banned.some(({ digest }) => digest === version.digest);
  return [lastGood, factory].find((version) => version !== null && isUsable(version)) ?? null;
}

/**
 * The last line that `swellsight agent preflight` prints on its standard output, as JSON. Exit status 0 means `ok`. The
 * command copies the database into the directory of `--state-copy` and migrates the copy.
 */
export const PreflightReport = Type.Object({
  format: Format,
  ok: Type.Boolean(),
  /** The first check that failed; null when all passed. `update_schema`: the version cannot use the database. */
  reason: Nullable(Reason),
});
export type PreflightReport = Static<typeof PreflightReport>;

/** `release.json` in the archive of a version: what the archive needs, and all its other files. */
export const Release = Type.Object({
  format: Format,
  name: Type.Literal('swellsight-edge'),
  version: ModelVersion,
  commit: Type.String(),
  /** In the words of `dpkg --print-architecture`. */
  arch: StringEnum(['arm64', 'amd64']),
  /** Oldest version of glibc, such as `2.34`. */
  glibc: Type.String({ pattern: '^\\d{1,3}\\.\\d{1,3}$' }),
  /** Number of the newest migration of the database. */
  schema: Count,
  /**
   * The oldest `schema` whose agent can use the database after this version has migrated it. Absent: no older one can.
   * Source: the lines `-- compatible-from: N` in the migrations.
   */
  compatible_from: Type.Optional(Count),
  node: Type.String(),
  files: Type.Record(
    Type.String(),
    Type.Object({
      sha256: ArchiveDigest,
      size: Count,
      /** Permission bits: 0o644 or 0o755. */
      mode: Type.Integer({ minimum: 0, maximum: 0o777 }),
    }),
  ),
});
export type Release = Static<typeof Release>;
