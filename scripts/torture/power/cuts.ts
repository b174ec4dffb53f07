import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { systemClock } from '../../../src/base/clock.ts';
import { PAYLOAD } from '../../../src/store/outbox/table.ts';
import { draft, NO_FEATURES, openStore } from '../../../test/fixtures/store.ts';
import { Dice } from '../random.ts';
import { PowerDisk } from './disk.ts';
import { Told, Writer, type Level } from './writer.ts';

export interface CutsOptions {
  readonly seed: number;
  readonly level: Level;
  /** Half of them cut the power of a copy, half of them that of the disk itself. */
  readonly cuts: number;
}

export interface CutsReport {
  readonly level: Level;
  readonly copies: number;
  readonly shutdowns: number;
  /** Records whose commit had returned before a cut: the sum over the cuts. */
  readonly atStake: number;
  /** Of these, not on the disk after the cut; and how many cuts lost any. */
  readonly lost: number;
  readonly losingCuts: number;
  /** Taken out of the outbox on the disk without having been acknowledged. */
  readonly deletedUnacknowledged: number;
  /** Cuts after which the database was not whole, or the store had to begin anew. */
  readonly brokenDatabases: number;
  /** Cuts after which a number was given out again. */
  readonly repeatedNumbers: number;
}

/** Nothing lost, nothing broken, no number twice, with the setting that the store has. */
export function isSound(reports: readonly CutsReport[]): boolean {
  return reports
    .filter(({ level }) => level === 'FULL')
    .every((r) => r.lost + r.deletedUnacknowledged + r.brokenDatabases + r.repeatedNumbers === 0);
}

/** A cut that takes nothing even from a weaker setting is none. */
export function controlsLose(reports: readonly CutsReport[]): boolean {
  return reports.filter(({ level }) => level !== 'FULL').every(({ losingCuts }) => losingCuts > 0);
}

interface Found {
  readonly whole: boolean;
  readonly ids: ReadonlySet<string>;
  readonly queued: ReadonlySet<string>;
  /** The next number that the store gives to the camera `north`; null when it began anew. */
  readonly next: number | null;
}

/** Cuts the power of a disk that the real store is writing to, again and again, and looks at what is left. */
export class PowerCuts {
  readonly #options: CutsOptions;
  readonly #disk: PowerDisk;
  readonly #scratch = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'swellsight-power-'));
  #writer: Writer | null = null;

  constructor(options: CutsOptions) {
    this.#options = options;
    this.#disk = PowerDisk.open();
  }

  /** At once and idempotent: also for an exit handler. */
  cleanUp(): void {
    this.#writer?.killNow();
    this.#disk.close();
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  async run(): Promise<CutsReport> {
    const { seed, level, cuts } = this.#options;
    const dice = new Dice(seed, `power ${level}`);
    const stateDir = join(this.#disk.path, 'state');
    const sums = { atStake: 0, lost: 0, losingCuts: 0 };
    const faults = { deletedUnacknowledged: 0, brokenDatabases: 0, repeatedNumbers: 0 };
    let told = new Told();
    let writer = (this.#writer = new Writer(stateDir, level, told));
    for (let n = 0; n < cuts; n += 1) {
      await writer.more(Math.round(dice.between(20, 120)));
      const before = [...told.stored];
      const newest = told.newest.get('north') ?? 0;
      const found = n % 2 === 0 ? await this.#cutCopy(writer) : await this.#cutDisk(writer, stateDir);
      const lost = before.filter((id) => !found.ids.has(id)).length;
      sums.atStake += before.length;
      sums.lost += lost;
      if (lost > 0) sums.losingCuts += 1;
      if (!found.whole || found.next === null) faults.brokenDatabases += 1;
      if (found.next !== null && found.next <= newest) faults.repeatedNumbers += 1;
      for (const id of found.ids)
        if (!found.queued.has(id) && !told.acked.has(id)) faults.deletedUnacknowledged += 1;
      if (n % 2 === 0) continue;
      if (level !== 'FULL') {
        // What a control has lost counts once: the next cuts have a fresh folder to lose.
        rmSync(stateDir, { recursive: true, force: true });
        told = new Told();
      }
      writer = this.#writer = new Writer(stateDir, level, told);
    }
    await writer.kill();
    return { level, copies: Math.ceil(cuts / 2), shutdowns: Math.floor(cuts / 2), ...sums, ...faults };
  }

  async #cutCopy(writer: Writer): Promise<Found> {
    const found = this.#disk.cutCopy((path) => look(join(path, 'state'), this.#scratch));
    // All that was told before the cut is read then.
    await writer.more(1);
    return found;
  }

  async #cutDisk(writer: Writer, stateDir: string): Promise<Found> {
    this.#disk.cut();
    await writer.kill();
    this.#disk.restore();
    return look(stateDir, this.#scratch);
  }
}

/** First at a copy of the file, then through the store itself, as the device does at its next start. */
function look(stateDir: string, scratch: string): Found {
  const copy = join(scratch, 'look.db');
  for (const suffix of ['', '-wal']) {
    rmSync(copy + suffix, { force: true });
    const from = join(stateDir, `swellsight.db${suffix}`);
    if (existsSync(from)) copyFileSync(from, copy + suffix);
  }
  return { ...read(copy), next: nextNumber(stateDir) };
}

function read(database: string): Omit<Found, 'next'> {
  const nothing = { whole: false, ids: new Set<string>(), queued: new Set<string>() };
  let db: Database.Database | null = null;
  try {
    db = new Database(database);
    const whole = db.pragma('integrity_check', { simple: true }) === 'ok';
    const ids = (sql: string): Set<string> =>
      new Set((db?.prepare<[], { id: string }>(sql).all() ?? []).map(({ id }) => id));
    return {
      whole,
      ids: ids('SELECT id FROM observations'),
      queued: ids(`SELECT (${PAYLOAD}) ->> 'id' AS id FROM outbox`),
    };
  } catch {
    return nothing;
  } finally {
    db?.close();
  }
}

function nextNumber(stateDir: string): number | null {
  try {
    const store = openStore(stateDir, systemClock);
    try {
      const { seq } = store.append(draft({ camera: 'north' }), NO_FEATURES);
      const anew = store.events.recent(20).some(({ type }) => type === 'store_recovered');
      return store.recovered === null && !anew ? seq : null;
    } finally {
      store.close();
    }
  } catch {
    return null;
  }
}
