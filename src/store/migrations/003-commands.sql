-- Commands in the order in which they came: the clock may be wrong while the bound on their number must hold.
CREATE TABLE commands_in_order (
  position INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  received_at_ms INTEGER NOT NULL,
  -- 1 where running it again would do no harm: the first to be forgotten.
  harmless INTEGER NOT NULL DEFAULT 0,
  result TEXT
) STRICT;
INSERT INTO commands_in_order (id, name, received_at_ms, result)
  SELECT id, name, received_at_ms, result FROM commands ORDER BY received_at_ms;
DROP TABLE commands;
ALTER TABLE commands_in_order RENAME TO commands;
CREATE INDEX commands_by_time ON commands (received_at_ms);
CREATE INDEX commands_by_harm ON commands (harmless DESC, position);
