PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, at TEXT, received_at TEXT, body TEXT,
  series AS (coalesce(body ->> 'store_id', body ->> 'device')), camera AS (body ->> 'camera'), seq AS (body ->> 'seq'),
  height_m AS (body ->> '$.wave.height_m'));
CREATE INDEX IF NOT EXISTS numbers ON records (series, camera, seq);
CREATE VIEW IF NOT EXISTS gaps AS SELECT series, camera, before + 1 AS first, seq - 1 AS last FROM
  (SELECT *, lag(seq) OVER (PARTITION BY series, camera ORDER BY seq) AS before FROM records) WHERE seq > before + 1;
