-- compatible-from: 5
-- What the clips of the cameras say about the sea. A record that waits for the broker has a copy of its payload in the
-- outbox, in the stream `camera:{id}/sea_state`: there are few of them, and retention may delete them here.
CREATE TABLE sea_states (
  row_id INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  camera TEXT NOT NULL,
  seq INTEGER NOT NULL,
  -- Start of the clip.
  captured_at_ms INTEGER NOT NULL,
  status TEXT NOT NULL,
  published_at_ms INTEGER,
  historical INTEGER NOT NULL DEFAULT 0,
  -- The record as JSON, with published_at null and historical false.
  payload TEXT NOT NULL,
  UNIQUE (camera, seq)
) STRICT;
CREATE INDEX sea_states_by_time ON sea_states (captured_at_ms);
CREATE INDEX sea_states_by_camera_and_time ON sea_states (camera, captured_at_ms);
