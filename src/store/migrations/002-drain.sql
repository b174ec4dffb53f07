-- When each record was published last, and whether as backfill. Beside the records, for noting it in them would write
-- every record twice. A record that was published before this step has it in its own row.
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

-- Records that were asked for again: they come after all others, and are no loss when they are dropped.
ALTER TABLE outbox ADD COLUMN requeued INTEGER NOT NULL DEFAULT 0;
CREATE INDEX outbox_requeued ON outbox (row_id) WHERE requeued = 1;

-- A record is kept once: its row in the queue has an empty payload, and takes that of the record. When the record is
-- deleted while it waits, the queue takes the payload over, so that retention never touches what was not sent.
ALTER TABLE outbox ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE outbox SET size_bytes = octet_length(payload);

CREATE TRIGGER outbox_keeps BEFORE DELETE ON observations BEGIN
  UPDATE outbox SET payload = old.payload
  WHERE stream = 'camera:' || old.camera AND seq = old.seq AND payload = '';
END;

-- A record waits once at most.
CREATE UNIQUE INDEX outbox_numbers ON outbox (stream, seq);

-- Size of all payloads that wait, and the drops that an event has told of.
INSERT INTO counters
  SELECT 'outbox_bytes', coalesce(sum(size_bytes), 0) FROM outbox WHERE TRUE
  ON CONFLICT (name) DO UPDATE SET value = excluded.value;
