import type Database from 'better-sqlite3';

/** A record or event whose times nothing vouches for; `ahead_ms`: wall minus monotonic clock that they were read with. */
export interface UnsyncedRow {
  readonly stream: string;
  readonly seq: number;
  readonly boot_id: string;
  readonly ahead_ms: number;
  readonly outbox_row_id: number;
  readonly handed: number;
}

interface Due {
  readonly boot: string;
  readonly all: 0 | 1;
  readonly ahead: number | null;
  readonly smallest: number;
  readonly limit: number;
}

interface Kept {
  readonly payload: string;
  readonly published_at_ms: number | null;
}

/** Statements on the table of what waits for the clock, and on what they mend. */
export function prepareUnsynced(db: Database.Database) {
  return {
    insert: db.prepare<[string, number, string, number, number]>(
      'INSERT OR REPLACE INTO unsynced VALUES (?, ?, ?, ?, ?, 0)',
    ),
    anyUnhanded: db.prepare<[], { found: number }>(
      'SELECT EXISTS (SELECT 1 FROM unsynced WHERE handed = 0) AS found',
    ),
    isHanded: db.prepare<[string, number], { handed: number }>(
      'SELECT handed FROM unsynced WHERE stream = ? AND seq = ?',
    ),
    hand: db.prepare<[string, number]>('UPDATE unsynced SET handed = 1 WHERE stream = ? AND seq = ?'),
    handAhead: db.prepare<[number, 0 | 1, number]>(
      `UPDATE unsynced SET handed = 1 WHERE handed = 0 AND (stream, seq) IN
         (SELECT stream, seq FROM unsynced WHERE outbox_row_id > ? AND (stream = 'events') = ?
          ORDER BY outbox_row_id LIMIT ?)`,
    ),
    moveAhead: db.prepare<[number, string, number, number]>(
      'UPDATE unsynced SET ahead_ms = ahead_ms + ? WHERE boot_id = ? AND abs(ahead_ms - ?) >= ?',
    ),
    due: db.prepare<[Due], UnsyncedRow>(
      `SELECT * FROM unsynced
       WHERE boot_id <> @boot OR @all = 1 OR abs(ahead_ms - @ahead) >= @smallest
       ORDER BY outbox_row_id LIMIT @limit`,
    ),
    rebase: db.prepare<[number, string, number]>(
      'UPDATE unsynced SET ahead_ms = ? WHERE stream = ? AND seq = ?',
    ),
    forget: db.prepare<[string, number]>('DELETE FROM unsynced WHERE stream = ? AND seq = ?'),
    forgetGone: db.prepare<[number]>(
      `DELETE FROM unsynced WHERE (stream, seq) IN
         (SELECT u.stream, u.seq FROM (SELECT * FROM unsynced ORDER BY outbox_row_id LIMIT ?) u WHERE
            NOT EXISTS (SELECT 1 FROM outbox o WHERE o.row_id = u.outbox_row_id)
            AND NOT EXISTS (SELECT 1 FROM observations o
                            WHERE o.camera = substr(u.stream, 8) AND o.seq = u.seq)
            AND NOT EXISTS (SELECT 1 FROM events e WHERE u.stream = 'events' AND e.seq = u.seq))`,
    ),
    record: db.prepare<[string, number], Kept>(
      `SELECT payload, coalesce(o.published_at_ms, p.published_at_ms) AS published_at_ms
       FROM observations o LEFT JOIN publications p ON p.camera = o.camera AND p.seq = o.seq
       WHERE o.camera = ? AND o.seq = ?`,
    ),
    restore: db.prepare<[string, string, number]>(
      'UPDATE observations SET payload = ? WHERE camera = ? AND seq = ?',
    ),
    moveRecord: db.prepare<[number, string, number]>(
      'UPDATE observations SET captured_at_ms = captured_at_ms + ? WHERE camera = ? AND seq = ?',
    ),
    moveBurst: db.prepare<[number, string, string, number]>(
      `UPDATE bursts SET captured_at_ms = captured_at_ms + ? WHERE camera = ? AND observation_id =
         (SELECT id FROM observations WHERE camera = ? AND seq = ?)`,
    ),
    event: db.prepare<[number], Kept>('SELECT payload, published_at_ms FROM events WHERE seq = ?'),
    restoreEvent: db.prepare<[string, number]>('UPDATE events SET payload = ? WHERE seq = ?'),
    moveEvent: db.prepare<[number, number]>('UPDATE events SET at_ms = at_ms + ? WHERE seq = ?'),
  };
}
