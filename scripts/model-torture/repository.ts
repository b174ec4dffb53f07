import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  DEFAULT_EXPIRES_DAYS,
  DEFAULT_KEY_COUNTS,
  DEFAULT_THRESHOLDS,
  initRepository,
} from '../../src/model/repository/init.ts';
import { publish } from '../../src/model/repository/publish.ts';
import { serveRepository } from '../../src/model/repository/serve.ts';

const BUNDLES = join(import.meta.dirname, '../../test/fixtures/bundles');

/** One model of the repository. */
export interface OfferedModel {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  /** False for a bundle that must never serve. */
  readonly isGood: boolean;
}

export interface Repository {
  readonly url: string;
  readonly trustRoot: string;
  readonly models: readonly OfferedModel[];
  close(): Promise<void>;
}

/** Bundle name, versions, and whether the bundle is good. */
const MODELS = [
  ['heads', ['1.0.0', '1.1.0', '1.2.0'], true],
  ['depth', ['1.0.0'], true],
  ['wrong-golden', ['1.0.0'], false],
  ['nan', ['1.0.0'], false],
] as const;

/** Publishes and serves a signed repository below `dir`. */
export async function serveSignedRepository(dir: string): Promise<Repository> {
  const options = {
    dir: join(dir, 'repository'),
    keysDir: join(dir, 'keys'),
    rootKeysDirs: [join(dir, 'root-keys')],
    passphrase: null,
    nowMs: Date.now(),
  };
  await initRepository({
    ...options,
    keyCounts: DEFAULT_KEY_COUNTS,
    thresholds: DEFAULT_THRESHOLDS,
    expiresDays: DEFAULT_EXPIRES_DAYS,
  });
  const bundles = MODELS.flatMap(([name, versions]) =>
    versions.map((version) => copyAsVersion(dir, name, version)),
  );
  const signal = AbortSignal.timeout(60_000);
  const report = await publish({ ...options, bundles, withdraw: [], timestampOnly: false }, signal);
  const { url, close } = await serveRepository(
    { dir: options.dir, host: '127.0.0.1', port: 0 },
    () => undefined,
  );
  const goodNames: readonly string[] = MODELS.filter(([, , isGood]) => isGood).map(([name]) => name);
  const models = report.models.map(({ name, version, digest }) => ({
    name,
    version,
    digest,
    isGood: goodNames.includes(name),
  }));
  return { url, trustRoot: join(options.dir, 'metadata', '1.root.json'), models, close };
}

/** Copies a bundle under another version, so that it has another digest. */
function copyAsVersion(dir: string, name: string, version: string): string {
  const copy = join(dir, 'bundles', name, version);
  cpSync(join(BUNDLES, name), copy, { recursive: true });
  const file = join(copy, 'model.json');
  const manifest = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  writeFileSync(file, JSON.stringify({ ...manifest, version }, null, 2));
  return copy;
}
