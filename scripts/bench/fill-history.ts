import Database from 'better-sqlite3';

const MINUTE_MS = 60_000;
/** Records that one transaction stores. */
const BATCH_MINUTES = 20_000;

export interface HistoryPlan {
  readonly cameras: readonly string[];
  readonly minutes: number;
  /** Wall clock of the newest record, ms. */
  readonly endMs: number;
  /** A record as JSON. */
  readonly template: string;
}

/**
 * Adds records of the past to a database that no process uses: one a minute for each camera, acknowledged by the broker, as
 * if the agent had made them. Replaces the records of these cameras. Much faster than the store, because a power cut may
 * damage the file meanwhile.
 */
export function fillHistory(path: string, { cameras, minutes, endMs, template }: HistoryPlan): void {
  const db = new Database(path);
  using _db = { [Symbol.dispose]: () => db.close() };
  db.pragma('synchronous = OFF');
  db.pragma('journal_mode = MEMORY');
  // The index of the random ids must fit, or each record waits for a page.
  db.pragma('cache_size = -1500000');
  const add = db.prepare(
    `WITH RECURSIVE minutes (n) AS (SELECT @from UNION ALL SELECT n + 1 FROM minutes WHERE n + 1 < @to),
       rows AS (
         SELECT m.n + 1 AS seq, @startMs + m.n * ${MINUTE_MS} AS ms, c.value AS camera,
           iif(m.n % 20 = 0, 'rejected', iif(m.n % 501 = 0, 'failed', 'measured')) AS status,
           lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' ||
             hex(randomblob(2)) || '-' || hex(randomblob(6))) AS id
         FROM minutes m CROSS JOIN json_each(@cameras) c)
     INSERT INTO observations (id, camera, seq, captured_at_ms, status, payload)
       SELECT id, camera, seq, ms, status, json_set(@template, '$.id', id, '$.camera', camera, '$.seq', seq,
         '$.status', status, '$.captured_at', strftime('%Y-%m-%dT%H:%M:%fZ', ms / 1000.0, 'unixepoch')) FROM rows`,
  );
  db.transaction(() => {
    for (const table of ['outbox', 'unsynced', 'observations', 'publications'])
      db.exec(`DELETE FROM ${table}`);
    db.exec(`DELETE FROM counters WHERE name = 'outbox_bytes'`);
  })();
  const startMs = endMs - minutes * MINUTE_MS;
  for (let from = 0; from < minutes; from += BATCH_MINUTES) {
    const to = Math.min(minutes, from + BATCH_MINUTES);
    db.transaction(() => add.run({ from, to, startMs, template, cameras: JSON.stringify(cameras) }))();
  }
  db.exec(
    `INSERT INTO publications SELECT camera, seq, captured_at_ms + 2000, 0 FROM observations ORDER BY camera, seq`,
  );
  const count = db.prepare('INSERT OR REPLACE INTO counters VALUES (?, ?)');
  for (const camera of cameras) count.run(`seq:camera:${camera}`, minutes);
  db.pragma('journal_mode = WAL');
}
