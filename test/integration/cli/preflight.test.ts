import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { PreflightReport } from '../../../src/contract/update-files.ts';
import { runCli, type CliResult } from '../../fixtures/cli.ts';
import { draft, ManualClock, NO_FEATURES, openStore, tempDir } from '../../fixtures/store.ts';

const TIMEOUT_MS = 120_000;

function setUp() {
  const home = tempDir();
  onTestFinished(home.remove);
  const [stateDir, copyDir] = [join(home.path, 'state'), join(home.path, 'copy')];
  const config = join(home.path, 'swellsight.yaml');
  mkdirSync(copyDir);
  writeFileSync(config, `stateDir: ${stateDir}\n`);
  const preflight = async (): Promise<{ result: CliResult; report: PreflightReport }> => {
    const result = await runCli(['agent', 'preflight', '--config', config, '--state-copy', copyDir]);
    return { result, report: JSON.parse(result.stdout.trim().split('\n').at(-1) ?? '') as PreflightReport };
  };
  return { stateDir, copyDir, config, preflight };
}

describe('agent preflight', () => {
  it(
    'passes with the database of a running agent, which it copies and does not change',
    async () => {
      const { stateDir, copyDir, preflight } = setUp();
      mkdirSync(stateDir);
      const store = openStore(stateDir, new ManualClock());
      onTestFinished(() => store.close());
      store.append(draft(), NO_FEATURES);
      const before = readFileSync(join(stateDir, 'swellsight.db'));
      const { result, report } = await preflight();
      expect([result.code, report]).toEqual([0, { format: 1, ok: true, reason: null }]);
      expect(readFileSync(join(stateDir, 'swellsight.db')).equals(before)).toBe(true);
      const copy = new Database(join(copyDir, 'swellsight.db'), { readonly: true });
      expect(copy.prepare('SELECT count(*) AS n FROM observations').get()).toEqual({ n: 1 });
      copy.close();
    },
    TIMEOUT_MS,
  );

  it(
    'passes on a device without a database',
    async () => {
      const { copyDir, preflight } = setUp();
      expect((await preflight()).report).toMatchObject({ ok: true });
      expect(readdirSync(copyDir)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it(
    'names a configuration that this version does not accept',
    async () => {
      const { config, preflight } = setUp();
      writeFileSync(config, 'no_such_key: 1\n');
      const { result, report } = await preflight();
      expect([result.code, report]).toMatchObject([
        1,
        { ok: false, reason: { code: 'config_invalid', message: expect.stringContaining('configuration') } },
      ]);
    },
    TIMEOUT_MS,
  );

  it(
    'refuses a database that a newer version wrote',
    async () => {
      const { stateDir, preflight } = setUp();
      mkdirSync(stateDir);
      openStore(stateDir, new ManualClock()).close();
      const db = new Database(join(stateDir, 'swellsight.db'));
      db.pragma('user_version = 9999');
      db.exec(`DELETE FROM counters WHERE name = 'schema_compatible_from'`);
      db.close();
      expect((await preflight()).report).toMatchObject({ ok: false, reason: { code: 'update_schema' } });
    },
    TIMEOUT_MS,
  );
});
