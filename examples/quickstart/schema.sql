-- The tables behind examples/quickstart/sluice.toml. For an empty SQLite database.

-- Read by cache-aside: GET fruit:1
CREATE TABLE fruit (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  quantity INTEGER NOT NULL
) STRICT;
INSERT INTO fruit VALUES (1, 'apple', 100), (2, 'orange', 200), (3, 'pear', 300);

-- Written through as JSON: SET user:ada '{"name":"ada",...}'
CREATE TABLE users (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  age INTEGER,
  occupation TEXT
) STRICT;

-- Written through as a hash: HSET profile:7 city Paris
CREATE TABLE profiles (
  id INTEGER PRIMARY KEY,
  city TEXT,
  score INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Counted in Redis, flushed every second: INCR counter:home
CREATE TABLE counters (
  id TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT;

-- The book-keeping of the counters: what has been applied of each, so that a flush that is repeated changes nothing.
CREATE TABLE sluice_counter_src (
  key TEXT NOT NULL,
  inc TEXT NOT NULL,
  n INTEGER NOT NULL,
  t INTEGER NOT NULL,
  retired INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (key, inc)
) STRICT;
