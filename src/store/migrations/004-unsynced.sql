-- Records and events that were made before the clock was synchronised, with the data to correct their timestamps later.
CREATE TABLE unsynced (
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  -- How far the wall clock was ahead of the monotonic clock, ms, when the timestamps of this record were read.
  ahead_ms REAL NOT NULL,
  outbox_row_id INTEGER NOT NULL,
  -- 1 when the record may have been sent: its timestamps must not change any more.
  handed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX unsynced_in_order ON unsynced (outbox_row_id);
