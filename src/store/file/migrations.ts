import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const MIGRATION_NAME = /^(\d{3})-[a-z0-9-]+\.sql$/;
const COMPATIBLE_FROM = /^-- compatible-from: (\d{1,3})$/m;

/** One numbered step of the schema. */
export interface Migration {
  readonly version: number;
  readonly sql: string;
  /**
   * The oldest schema whose agent can still use the database after this step, from the line `-- compatible-from: N`. A step
   * without this line is compatible with no older agent.
   */
  readonly compatibleFrom: number;
}

/** The migrations in a directory, in their order. */
export function readMigrations(directory: string): readonly Migration[] {
  return readdirSync(directory)
    .flatMap((name) => {
      const number = MIGRATION_NAME.exec(name)?.[1];
      if (number === undefined) return [];
      const sql = readFileSync(join(directory, name), 'utf8');
      const version = Number(number);
      const compatibleFrom = Number(COMPATIBLE_FROM.exec(sql)?.[1] ?? version);
      return [{ version, sql, compatibleFrom }];
    })
    .sort((a, b) => a.version - b.version);
}

/**
 * The newest schema of these migrations, and the oldest one whose agent can use a database that they have migrated. Both
 * are in release.json of an archive.
 */
export function schemaRange(migrations: readonly Migration[]): { schema: number; compatibleFrom: number } {
  const schema = migrations.at(-1)?.version ?? 0;
  const isReadableBy = (oldest: number): boolean =>
    migrations.every(({ version, compatibleFrom }) => version <= oldest || compatibleFrom <= oldest);
  const candidates = migrations.map(({ version }) => version).filter(isReadableBy);
  return { schema, compatibleFrom: candidates[0] ?? schema };
}
