import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Observation } from '../../../src/contract/observation.ts';
import type { Store } from '../../../src/store/store.ts';
import {
  burstFeatures,
  draft,
  ManualClock,
  memoryDir,
  openCopy,
  openStore,
  seaStateDraft,
} from '../../fixtures/store.ts';

const DAY_MS = 86_400_000;
const STATUSES: readonly Observation['status'][] = ['measured', 'failed', 'skipped'];

/** Tables with a bound on their rows, or whose rows people make. */
const SMALL_TABLES = [
  'counters',
  'labels',
  'bursts',
  'embeddings',
  'commands',
  'rejected',
  'unsynced',
  'l',
  'b',
  'e',
];
/** Steps that read a large table from its beginning, and why they may. */
const BOUNDED: readonly (readonly [sql: RegExp, why: string])[] = [
  [
    /^SELECT [\w, .]+ FROM \w+( r JOIN [^?]*)? ORDER BY [\w.]+( DESC)? LIMIT (\?|1)$/,
    'it reads only the first rows',
  ],
  [/ FROM \w+ WHERE TRUE ORDER BY (row_id|seq) LIMIT (\?\)|1$)/, 'it reads only the first rows'],
  [/^DELETE FROM observations .* NOT EXISTS \(SELECT 1 FROM outbox/, 'it passes only records in the outbox'],
  [
    / FROM json_each\(@ids\) i CROSS JOIN observations o WHERE o\.id = i\.value /,
    'it reads and sorts only the given ids',
  ],
  [/ FROM outbox( |$)/, 'the outbox has a bound, and these statements run at the start or when it is full'],
  [/^SELECT EXISTS \(SELECT 1 FROM unsynced/, 'the table is empty while the clock is synchronised'],
];

describe('the statements of the store', () => {
  const dir = memoryDir();
  let store: Store;
  /** The steps of each statement, by its text in one line. */
  let plans: ReadonlyMap<string, readonly string[]>;

  beforeAll(() => {
    const prepared = new Set<string>();
    // eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with its object below
    const original = Database.prototype.prepare;
    vi.spyOn(Database.prototype, 'prepare').mockImplementation(function (this: Database.Database, sql) {
      prepared.add(sql);
      return original.call(this, sql);
    });
    const clock = new ManualClock();
    store = openStore(dir.path, clock);
    for (const camera of ['north', 'south'])
      for (const status of STATUSES)
        store.append(
          draft({ camera, status, captured_at: new Date(clock.nowMs()).toISOString() }),
          burstFeatures([1]),
        );
    // Every documented form of GET /observations. The CSV reads its pages in the same way.
    for (const filter of [
      {},
      { camera: 'north' },
      { status: 'failed' },
      { camera: 'north', status: 'failed' },
    ] as const)
      for (const range of [
        {},
        { fromMs: 0 },
        { toMs: clock.nowMs() + 1 },
        { fromMs: 0, toMs: clock.nowMs() + 1 },
      ])
        for (const cursor of [undefined, Buffer.from(`${clock.nowMs()}:5`).toString('base64url')])
          store.observations.query({
            ...filter,
            ...range,
            ...(cursor === undefined ? {} : { cursor }),
            limit: 1,
          });
    store.appendSeaState(seaStateDraft());
    store.events.recent(10);
    store.events.recent(10, 5);
    clock.advance(40 * DAY_MS);
    while (store.prune().more);
    vi.restoreAllMocks();
    const db = openCopy(dir.path);
    const explain = (sql: string): readonly string[] => {
      const names = [...sql.matchAll(/@(\w+)/g)].map(([, name]) => [name, 1] as const);
      const values = names.length > 0 ? Object.fromEntries(names) : [...sql.matchAll(/\?/g)].map(() => 1);
      const rows = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(values) as { detail: string }[];
      return rows.map(({ detail }) => detail);
    };
    plans = new Map(
      [...prepared]
        .map((sql) => sql.replace(/\s+/g, ' ').trim())
        .filter((sql) => /^(SELECT|INSERT|UPDATE|DELETE|WITH) /.test(sql) && !sql.includes('INTO reserved'))
        .map((sql) => [sql, explain(sql)] as const),
    );
    db.close();
  });
  afterAll(() => {
    store.close();
    dir.remove();
  });

  const stepsOf = (sql: RegExp): string[] => {
    const found = [...plans].filter(([text]) => sql.test(text)).flatMap(([, steps]) => steps);
    expect(found.length, String(sql)).toBeGreaterThan(0);
    return found;
  };

  it('read records of the history in the order of an index, from the place of the page on', () => {
    const merged = stepsOf(/FROM history WHERE camera = @camera0/);
    const reads = merged.filter((step) => !/^(MERGE \(UNION ALL\)|LEFT|RIGHT)$/.test(step));
    expect(new Set(reads)).toEqual(
      new Set([
        'SEARCH history USING PRIMARY KEY (camera=? AND status=? AND captured_at_ms>? AND (captured_at_ms,row_id)<(?,?))',
      ]),
    );
    // One, two, three and all six series: of a camera with a status, of a status, of a camera, and all.
    expect(reads).toHaveLength(1 + 2 + 3 + 6);
    expect(stepsOf(/^SELECT camera, status FROM history/)).toEqual([
      'SEARCH history USING PRIMARY KEY (camera=? AND status>?)',
      'SEARCH history USING PRIMARY KEY (camera>?)',
    ]);
  });

  it('read events from the place of the page on', () => {
    expect(stepsOf(/^SELECT payload FROM events WHERE seq [<>] \?/)).toEqual([
      'SEARCH events USING INTEGER PRIMARY KEY (rowid<?)',
      'SEARCH events USING INTEGER PRIMARY KEY (rowid>?)',
    ]);
  });

  it('read sea states in the order of an index, from the place of the page on', () => {
    expect(stepsOf(/^SELECT row_id, .* FROM sea_states WHERE camera = \? AND captured_at_ms >= \?/)).toEqual([
      'SEARCH sea_states USING INDEX sea_states_by_camera_and_time (camera=? AND captured_at_ms>?)',
      'SEARCH sea_states USING INDEX sea_states_by_camera_and_time (camera=? AND captured_at_ms>? AND captured_at_ms<?)',
    ]);
  });

  it('count and read the records of a step of a chart by an index', () => {
    for (const statement of [/^SELECT row_id FROM history/, /^SELECT count\(\*\) AS count FROM history/])
      expect(stepsOf(statement)).toEqual([
        'SEARCH history USING PRIMARY KEY (camera=? AND status=? AND captured_at_ms>? AND captured_at_ms<?)',
      ]);
    expect(stepsOf(/^SELECT avg\(.*FROM sea_states/)).toContain(
      'SEARCH sea_states USING INDEX sea_states_by_camera_and_time (camera=? AND captured_at_ms>? AND captured_at_ms<?)',
    );
  });

  it('delete expired rows by an index', () => {
    for (const [table, index] of [
      ['observations', 'observations_by_time (captured_at_ms>? AND captured_at_ms<?)'],
      ['events', 'events_by_time (at_ms>? AND at_ms<?)'],
      ['sea_states', 'sea_states_by_time (captured_at_ms>? AND captured_at_ms<?)'],
    ] as const)
      expect(stepsOf(new RegExp(`^DELETE FROM ${table} .* < \\? AND`))).toContain(
        `SEARCH ${table} USING COVERING INDEX ${index}`,
      );
  });

  it('never read or sort a whole table that grows with time', () => {
    const unbounded = [...plans].flatMap(([sql, steps]) =>
      steps
        .filter((step) => {
          const table = /^SCAN (\w+)/.exec(step)?.[1];
          if (table !== undefined) return !SMALL_TABLES.includes(table);
          return step.startsWith('USE TEMP B-TREE') && !/FROM (labels|embeddings)/.test(sql);
        })
        .filter(() => !BOUNDED.some(([allowed]) => allowed.test(sql)))
        .map((step) => `${step}: ${sql}`),
    );
    expect(unbounded).toEqual([]);
    expect(plans.size).toBeGreaterThan(60);
  });
});
