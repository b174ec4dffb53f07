-- compatible-from: 5
-- How a person read a wave height that was converted from another unit or scale, and the tide at that time. A table of its
-- own, so that a former agent can still write labels.
CREATE TABLE label_readings (
  camera TEXT NOT NULL,
  observation_id TEXT NOT NULL,
  height REAL,
  -- m or ft.
  unit TEXT,
  -- face or hawaiian.
  scale TEXT,
  tide_m REAL,
  PRIMARY KEY (camera, observation_id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER label_readings_follow AFTER DELETE ON labels BEGIN
  DELETE FROM label_readings WHERE camera = old.camera AND observation_id = old.observation_id;
END;

-- A new label has a reading of its own, or none.
CREATE TRIGGER label_readings_end AFTER UPDATE ON labels BEGIN
  DELETE FROM label_readings WHERE camera = old.camera AND observation_id = old.observation_id;
END;
