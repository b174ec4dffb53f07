PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, at TEXT, received_at TEXT, body TEXT,
  series AS (coalesce(body ->> 'store_id', body ->> 'device')), camera AS (body ->> 'camera'), seq AS (body ->> 'seq'),
  height_m AS (body ->> '$.wave.height_m'));
CREATE INDEX IF NOT EXISTS numbers ON records (series, camera, seq);
DROP VIEW IF EXISTS gaps; -- Observations and sea states have numbers of their own.
CREATE VIEW gaps AS SELECT series, camera, kind, before + 1 AS first, seq - 1 AS last FROM
  (SELECT *, lag(seq) OVER (PARTITION BY series, camera, kind ORDER BY seq) AS before FROM
  (SELECT *, body ->> 'schema' AS kind FROM records)) WHERE seq > before + 1;
