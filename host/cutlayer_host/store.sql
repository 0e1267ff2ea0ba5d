-- What a store holds (store.py). Steps and checkpoints belong to runs, runs to devices.

CREATE TABLE devices (
    id TEXT PRIMARY KEY, -- device_id in hex, or the way to it when it has none
    url TEXT NOT NULL,
    board TEXT NOT NULL,
    model_id TEXT NOT NULL,
    saves INTEGER NOT NULL, -- of its storage, since that was new
    seen REAL NOT NULL -- seconds since 1970, as all times
) STRICT;

CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    lineage INTEGER NOT NULL UNIQUE, -- CONFIGURE.run
    device TEXT NOT NULL REFERENCES devices (id),
    bundle TEXT NOT NULL,
    model_id TEXT NOT NULL,
    asked TEXT NOT NULL, -- JSON
    result TEXT, -- JSON, once it has finished
    begun REAL NOT NULL,
    ended REAL
) STRICT;

CREATE TABLE steps (
    run INTEGER NOT NULL REFERENCES runs (number),
    step INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    visited INTEGER NOT NULL, -- and the rest as in report.StepDone
    loss REAL NOT NULL,
    correct INTEGER NOT NULL,
    weights_crc INTEGER,
    saturated INTEGER NOT NULL,
    scale REAL NOT NULL,
    clipped INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE metrics (
    run INTEGER NOT NULL REFERENCES runs (number),
    step INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (run, step, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    run INTEGER NOT NULL REFERENCES runs (number),
    step INTEGER NOT NULL,
    sha256 TEXT NOT NULL, -- of its file
    weights_crc INTEGER, -- of the board's layer
    saved INTEGER NOT NULL DEFAULT 0, -- 1: the board has it too
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;
