-- compatible-from: 5
-- The records in the order of the queries: by camera and status, then by time. It replaces an index of `observations`.
-- A table and not an index, because it can be filled from that index in its own order: building an index would read every
-- record and sort all keys in memory. `observations_by_time` stays: retention uses it.
CREATE TABLE history (
  camera TEXT NOT NULL,
  status TEXT NOT NULL,
  captured_at_ms INTEGER NOT NULL,
  row_id INTEGER NOT NULL,
  PRIMARY KEY (camera, status, captured_at_ms, row_id)
) STRICT, WITHOUT ROWID;

INSERT INTO history (camera, status, captured_at_ms, row_id)
  WITH RECURSIVE
    cameras (camera) AS (
      SELECT min(camera) FROM observations
      UNION ALL
      SELECT (SELECT min(o.camera) FROM observations o WHERE o.camera > c.camera) FROM cameras c
        WHERE c.camera IS NOT NULL
    ),
    statuses (status) AS (VALUES ('failed'), ('measured'), ('rejected'), ('skipped'))
  SELECT c.camera, s.status, o.captured_at_ms, o.row_id
  FROM cameras c CROSS JOIN statuses s CROSS JOIN observations o INDEXED BY observations_by_camera_and_time
  WHERE o.camera = c.camera AND o.status = s.status;

DROP INDEX observations_by_camera_and_time;

CREATE TRIGGER history_adds AFTER INSERT ON observations BEGIN
  INSERT INTO history VALUES (new.camera, new.status, new.captured_at_ms, new.row_id);
END;

CREATE TRIGGER history_moves AFTER UPDATE OF camera, status, captured_at_ms ON observations BEGIN
  DELETE FROM history WHERE camera = old.camera AND status = old.status
    AND captured_at_ms = old.captured_at_ms AND row_id = old.row_id;
  INSERT INTO history VALUES (new.camera, new.status, new.captured_at_ms, new.row_id);
END;

CREATE TRIGGER history_follows AFTER DELETE ON observations BEGIN
  DELETE FROM history WHERE camera = old.camera AND status = old.status
    AND captured_at_ms = old.captured_at_ms AND row_id = old.row_id;
END;

-- What the model saw in the newest bursts, packed (see packed-burst.ts). A burst that gets a label is copied to `bursts`.
-- Beside that table, because most bursts get no label and are deleted after two weeks: these rows need no index.
CREATE TABLE recent_bursts (
  -- That of the record in `observations`.
  row_id INTEGER PRIMARY KEY,
  embedding_digest TEXT NOT NULL,
  features BLOB NOT NULL
) STRICT;

CREATE TRIGGER recent_bursts_follow AFTER DELETE ON observations BEGIN
  DELETE FROM recent_bursts WHERE row_id = old.row_id;
END;
