import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { systemClock } from '../../../src/base/clock.ts';
import { PAYLOAD } from '../../../src/store/outbox/table.ts';
import { draft, NO_FEATURES, openStore } from '../../../test/fixtures/store.ts';
import { SeededRandom } from '../random.ts';
import { PowerDisk } from './disk.ts';
import { WriterLog, Writer, type Level } from './writer.ts';

export interface CutsOptions {
  readonly seed: number;
  readonly level: Level;
  /** Half of them cut the power of a copy of the disk, half of them that of the disk itself. */
  readonly cuts: number;
}

export interface CutsReport {
  readonly level: Level;
  readonly copies: number;
  readonly shutdowns: number;
  /** Records whose commit had returned before a cut, added over all cuts. */
  readonly atStake: number;
  /** Of these, records that were not on the disk after the cut. */
  readonly lost: number;
  /** Cuts that lost at least one record. */
  readonly losingCuts: number;
  /** Messages deleted from the outbox on the disk without an acknowledgement. */
  readonly deletedUnacknowledged: number;
  /** Cuts after which the database was damaged, or the store replaced it. */
  readonly brokenDatabases: number;
  /** Cuts after which the store assigned a number a second time. */
  readonly repeatedNumbers: number;
}

/** Whether the store, with its own setting, lost nothing, damaged nothing and repeated no number. */
export function isSound(reports: readonly CutsReport[]): boolean {
  return reports
    .filter(({ level }) => level === 'FULL')
    .every((r) => r.lost + r.deletedUnacknowledged + r.brokenDatabases + r.repeatedNumbers === 0);
}

/** Whether each weaker setting lost records: otherwise the cuts prove nothing. */
export function controlsLose(reports: readonly CutsReport[]): boolean {
  return reports.filter(({ level }) => level !== 'FULL').every(({ losingCuts }) => losingCuts > 0);
}

interface DiskContent {
  readonly isIntact: boolean;
  readonly ids: ReadonlySet<string>;
  readonly queued: ReadonlySet<string>;
  /** The next number of the camera `north`; null when the store replaced its database. */
  readonly nextSeq: number | null;
}

/** Cuts the power of a disk many times while the real store writes to it, and checks the content of the disk. */
export class PowerCuts {
  readonly #options: CutsOptions;
  readonly #disk: PowerDisk;
  readonly #scratch = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'swellsight-power-'));
  #writer: Writer | null = null;

  constructor(options: CutsOptions) {
    this.#options = options;
    this.#disk = PowerDisk.open();
  }

  /** Synchronous and idempotent, for use in an exit handler. */
  cleanUp(): void {
    this.#writer?.killNow();
    this.#disk.close();
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  async run(): Promise<CutsReport> {
    const { seed, level, cuts } = this.#options;
    const random = new SeededRandom(seed, `power ${level}`);
    const stateDir = join(this.#disk.path, 'state');
    const sums = { atStake: 0, lost: 0, losingCuts: 0 };
    const faults = { deletedUnacknowledged: 0, brokenDatabases: 0, repeatedNumbers: 0 };
    let log = new WriterLog();
    let writer = (this.#writer = new Writer(stateDir, level, log));
    for (let n = 0; n < cuts; n += 1) {
      await writer.waitForLines(Math.round(random.between(20, 120)));
      const before = [...log.stored];
      const newest = log.newest.get('north') ?? 0;
      const found = n % 2 === 0 ? await this.#cutCopy(writer) : await this.#cutDisk(writer, stateDir);
      const lost = before.filter((id) => !found.ids.has(id)).length;
      sums.atStake += before.length;
      sums.lost += lost;
      if (lost > 0) sums.losingCuts += 1;
      if (!found.isIntact || found.nextSeq === null) faults.brokenDatabases += 1;
      if (found.nextSeq !== null && found.nextSeq <= newest) faults.repeatedNumbers += 1;
      for (const id of found.ids)
        if (!found.queued.has(id) && !log.acked.has(id)) faults.deletedUnacknowledged += 1;
      if (n % 2 === 0) continue;
      if (level !== 'FULL') {
        // Count each loss once: continue a control with an empty directory.
        rmSync(stateDir, { recursive: true, force: true });
        log = new WriterLog();
      }
      writer = this.#writer = new Writer(stateDir, level, log);
    }
    await writer.kill();
    return { level, copies: Math.ceil(cuts / 2), shutdowns: Math.floor(cuts / 2), ...sums, ...faults };
  }

  async #cutCopy(writer: Writer): Promise<DiskContent> {
    const found = this.#disk.cutCopy((path) => inspect(join(path, 'state'), this.#scratch));
    // After one more line, all lines printed before the cut have been read.
    await writer.waitForLines(1);
    return found;
  }

  async #cutDisk(writer: Writer, stateDir: string): Promise<DiskContent> {
    this.#disk.cut();
    await writer.kill();
    this.#disk.restore();
    return inspect(stateDir, this.#scratch);
  }
}

/** Reads a copy of the database, then opens the store, as the device does at its next start. */
function inspect(stateDir: string, scratch: string): DiskContent {
  const copy = join(scratch, 'copy.db');
  for (const suffix of ['', '-wal']) {
    rmSync(copy + suffix, { force: true });
    const from = join(stateDir, `swellsight.db${suffix}`);
    if (existsSync(from)) copyFileSync(from, copy + suffix);
  }
  return { ...read(copy), nextSeq: readNextSeq(stateDir) };
}

function read(database: string): Omit<DiskContent, 'nextSeq'> {
  const unreadable = { isIntact: false, ids: new Set<string>(), queued: new Set<string>() };
  let db: Database.Database | null = null;
  try {
    db = new Database(database);
    const isIntact = db.pragma('integrity_check', { simple: true }) === 'ok';
    const ids = (sql: string): Set<string> =>
      new Set((db?.prepare<[], { id: string }>(sql).all() ?? []).map(({ id }) => id));
    return {
      isIntact,
      ids: ids('SELECT id FROM observations'),
      queued: ids(`SELECT (${PAYLOAD}) ->> 'id' AS id FROM outbox`),
    };
  } catch {
    return unreadable;
  } finally {
    db?.close();
  }
}

function readNextSeq(stateDir: string): number | null {
  try {
    const store = openStore(stateDir, systemClock);
    try {
      const { seq } = store.append(draft({ camera: 'north' }), NO_FEATURES);
      const wasReplaced = store.events.recent(20).some(({ type }) => type === 'store_recovered');
      return store.recovered === null && !wasReplaced ? seq : null;
    } finally {
      store.close();
    }
  } catch {
    return null;
  }
}
