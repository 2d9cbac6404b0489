-- The tables of every peer that stores, with one live form. Times are Unix milliseconds.
CREATE TABLE forms (
    id INTEGER PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    -- Posts a month, and how many the month (2026-06, UTC) has taken.
    quota INTEGER NOT NULL,
    month TEXT NOT NULL,
    used INTEGER NOT NULL
);

CREATE TABLE submissions (
    id TEXT PRIMARY KEY,
    form_id INTEGER NOT NULL REFERENCES forms (id),
    received_at INTEGER NOT NULL,
    payload TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX submissions_of_form ON submissions (form_id, id);

CREATE TABLE receipts (
    form_id INTEGER NOT NULL REFERENCES forms (id),
    key TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (form_id, key)
) WITHOUT ROWID;

INSERT INTO forms (slug, status, quota, month, used) VALUES ('demo', 'live', 1000000000, '', 0);
