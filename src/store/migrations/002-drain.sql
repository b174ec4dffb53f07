-- The last publication of each record, and whether it was backfill. In a separate table, because an update of the
-- record would write its payload again. For a record that was published before this migration, both are in its row
-- of the table `observations`.
CREATE TABLE publications (
  camera TEXT NOT NULL,
  seq INTEGER NOT NULL,
  published_at_ms INTEGER NOT NULL,
  historical INTEGER NOT NULL,
  PRIMARY KEY (camera, seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER publications_follow AFTER DELETE ON observations BEGIN
  DELETE FROM publications WHERE camera = old.camera AND seq = old.seq;
END;

-- 1 for records that were queued again: they are sent after all others, and nothing is lost when they are dropped.
ALTER TABLE outbox ADD COLUMN requeued INTEGER NOT NULL DEFAULT 0;
CREATE INDEX outbox_requeued ON outbox (row_id) WHERE requeued = 1;

-- The payload of a record is stored once: its row in the outbox has an empty payload and uses the payload of the
-- record. When a waiting record is deleted, the trigger copies its payload to the outbox, so that retention never loses
-- an unsent record.
ALTER TABLE outbox ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE outbox SET size_bytes = octet_length(payload);

CREATE TRIGGER outbox_keeps BEFORE DELETE ON observations BEGIN
  UPDATE outbox SET payload = old.payload
  WHERE stream = 'camera:' || old.camera AND seq = old.seq AND payload = '';
END;

-- A record is in the outbox at most once.
CREATE UNIQUE INDEX outbox_numbers ON outbox (stream, seq);

-- The total size of all payloads in the outbox.
INSERT INTO counters
  SELECT 'outbox_bytes', coalesce(sum(size_bytes), 0) FROM outbox WHERE TRUE
  ON CONFLICT (name) DO UPDATE SET value = excluded.value;
