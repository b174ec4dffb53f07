-- Records and events made while nothing had set the clock: what it takes to mend their times later.
CREATE TABLE unsynced (
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  -- Wall minus monotonic clock that the times of this record were read with.
  ahead_ms REAL NOT NULL,
  outbox_row_id INTEGER NOT NULL,
  -- 1 once it may have been sent: from then on it must not change.
  handed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX unsynced_in_order ON unsynced (outbox_row_id);
