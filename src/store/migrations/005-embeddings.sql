-- What other models than the one that saw a labelled burst made of its picture, by the trunk that made it.
CREATE TABLE embeddings (
  row_id INTEGER PRIMARY KEY,
  camera TEXT NOT NULL,
  observation_id TEXT NOT NULL,
  embedding_digest TEXT NOT NULL,
  -- Float32, little-endian.
  embedding BLOB NOT NULL,
  UNIQUE (camera, observation_id, embedding_digest)
) STRICT;

CREATE TRIGGER embeddings_follow AFTER DELETE ON bursts BEGIN
  DELETE FROM embeddings WHERE camera = old.camera AND observation_id = old.observation_id;
END;
