-- Highest number given out per stream (`camera:{id}`, `events`), and the drops counted for ever.
CREATE TABLE counters (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE observations (
  row_id INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  camera TEXT NOT NULL,
  seq INTEGER NOT NULL,
  captured_at_ms INTEGER NOT NULL,
  status TEXT NOT NULL,
  published_at_ms INTEGER,
  historical INTEGER NOT NULL DEFAULT 0,
  -- The record as JSON, with published_at null and historical false.
  payload TEXT NOT NULL,
  UNIQUE (camera, seq)
) STRICT;
CREATE INDEX observations_by_time ON observations (captured_at_ms, status);
CREATE INDEX observations_by_camera_and_time ON observations (camera, captured_at_ms, status);

CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  type TEXT NOT NULL,
  published_at_ms INTEGER,
  payload TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_time ON events (at_ms);

-- Messages that wait for their PUBACK. The payload is kept here as well, so that retention never touches the queue.
CREATE TABLE outbox (
  row_id INTEGER PRIMARY KEY,
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  topic TEXT NOT NULL,
  payload TEXT NOT NULL,
  created_mono_ms REAL NOT NULL,
  created_at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX outbox_events ON outbox (row_id) WHERE stream = 'events';

-- Messages that the broker will never take.
CREATE TABLE rejected (
  row_id INTEGER PRIMARY KEY,
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  topic TEXT NOT NULL,
  payload TEXT NOT NULL,
  reason TEXT NOT NULL,
  rejected_at_ms INTEGER NOT NULL
) STRICT;

-- What the model saw in a burst: needed to learn from a label that comes later.
CREATE TABLE bursts (
  row_id INTEGER PRIMARY KEY,
  camera TEXT NOT NULL,
  observation_id TEXT NOT NULL,
  captured_at_ms INTEGER NOT NULL,
  embedding_digest TEXT NOT NULL,
  -- Float32, little-endian.
  embedding BLOB NOT NULL,
  view_luma BLOB,
  view_width INTEGER,
  view_height INTEGER,
  UNIQUE (camera, observation_id)
) STRICT;
CREATE INDEX bursts_by_time ON bursts (captured_at_ms);

CREATE TABLE labels (
  camera TEXT NOT NULL,
  observation_id TEXT NOT NULL,
  height_m REAL NOT NULL,
  observer TEXT,
  note TEXT,
  created_at_ms INTEGER NOT NULL,
  group_id TEXT NOT NULL,
  PRIMARY KEY (camera, observation_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE memory (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Answers of commands, so that a command that comes twice is answered and not run again.
CREATE TABLE commands (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  received_at_ms INTEGER NOT NULL,
  result TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX commands_by_time ON commands (received_at_ms);
