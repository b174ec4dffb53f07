import { Type, type Static } from '@sinclair/typebox';
import { join } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { putFile, readIfThere } from './files.ts';

const FILE = 'repository.json';
const Days = Type.Number({ exclusiveMinimum: 0, maximum: 36_500 });
const Version = Type.Integer({ minimum: 1 });

const SettingsSchema = Type.Object({
  format: Type.Literal(1),
  /** How long a signature of each role holds. */
  expires_days: Type.Object({ root: Days, targets: Days, snapshot: Days, timestamp: Days }),
  /** The last versions that were signed from here. */
  published: Type.Object({ root: Version, timestamp: Version }),
  /**
   * Written before a root that takes keys away, and gone when all is signed anew: what the former keys signed is believed
   * once more if the timestamp is this one.
   */
  rotating: Type.Optional(Type.Object({ root: Version, timestamp_sha256: Type.String() })),
});
export type Settings = Static<typeof SettingsSchema>;

const check = schemaChecker({ strict: true }).compile<Settings>(SettingsSchema);

/** Null when there are none; throws `repo_damaged` when they cannot be read. */
export async function readSettings(keysDir: string): Promise<Settings | null> {
  const bytes = await readIfThere(join(keysDir, FILE));
  if (!bytes) return null;
  try {
    const settings: unknown = JSON.parse(bytes.toString('utf8'));
    if (check(settings)) return settings;
  } catch (error) {
    throw new AgentError('repo_damaged', `${FILE} in the folder of keys is no JSON`, { cause: error });
  }
  throw new AgentError('repo_damaged', `${FILE} in the folder of keys has another shape`);
}

export function writeSettings(keysDir: string, settings: Settings): void {
  putFile(join(keysDir, FILE), `${JSON.stringify(settings, null, 2)}\n`, 0o600);
}
