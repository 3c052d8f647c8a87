"""The tables, and how a file becomes a catalog, or one of this version.

`PRAGMA user_version` is the schema's version. Text that the service chose and that may hold what SQLite
cannot is stored as `names.encode` of it (`plain`, `path`). What is small and repeated (status, split, tags)
is a `word`. A column that would usually repeat its neighbour is NULL instead: `ino` where it is the pk,
`plain` (the encoded remote name) where it is the file name, `annotation` where it is the ino.

An image row whose `directory` is NULL is an old version or deleted: no index by name holds it, and
`collect` removes it once nothing of it is in the store.

Measured with a million images (tests/benchmarks/catalog_size.py): 95 bytes a row, 37 for each of the two
indexes by name, 30 for the one by id, 49 for the one that lists views.
"""

from __future__ import annotations

import re
import secrets
import sqlite3

VERSION = 2
OLDEST = 1  # that `upgrade` makes one of VERSION
APPLICATION_ID = 0x50494354  # "PICT": so that a stranger's SQLite file is not mistaken for ours

# Members of archives. Those of one archive have the pks `first` to `first + count - 1`, in its own order.
MEMBERS = """
CREATE TABLE opened (
    export INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    whole INTEGER NOT NULL DEFAULT 0);         -- 1: every member is in the table
CREATE TABLE member (
    pk INTEGER PRIMARY KEY,
    export INTEGER NOT NULL,
    parent INTEGER NOT NULL,                   -- a directory's pk; at the top minus the export's
    file_name TEXT NOT NULL,
    plain TEXT,                                -- the encoded name in the archive, where it is another
    method INTEGER,                            -- NULL: a directory
    encrypted INTEGER NOT NULL DEFAULT 0,
    header INTEGER NOT NULL DEFAULT 0,         -- where its local header lies
    packed INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    crc32 INTEGER NOT NULL DEFAULT 0,
    data INTEGER);                             -- where its bytes begin; NULL until its header was read
CREATE UNIQUE INDEX member_name ON member (parent, file_name);
"""

TABLES = MEMBERS + """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE word (pk INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL UNIQUE);
CREATE TABLE boot (pk INTEGER PRIMARY KEY AUTOINCREMENT, boot_id TEXT NOT NULL UNIQUE);

CREATE TABLE organization (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    origin TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    document BLOB NOT NULL,
    checked_ns INTEGER NOT NULL DEFAULT 0,
    tried_ns INTEGER NOT NULL DEFAULT 0,
    UNIQUE (origin, remote_id));
CREATE TABLE api_key (digest BLOB PRIMARY KEY, organization INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE dataset (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    organization INTEGER NOT NULL,
    remote_id TEXT NOT NULL,
    plain TEXT NOT NULL,
    slug TEXT NOT NULL,
    file_name TEXT NOT NULL,
    archived INTEGER NOT NULL,
    document BLOB NOT NULL,
    fingerprint TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    updated_ns INTEGER NOT NULL,
    image_count INTEGER NOT NULL,
    total_bytes INTEGER NOT NULL,
    checked_ns INTEGER NOT NULL DEFAULT 0,
    listed_ns INTEGER NOT NULL DEFAULT 0,
    listed_fingerprint TEXT NOT NULL DEFAULT '',
    exports_listed_ns INTEGER NOT NULL DEFAULT 0,
    listing_generation INTEGER NOT NULL DEFAULT 0,
    root_directory INTEGER NOT NULL DEFAULT 0,
    gone_ns INTEGER NOT NULL DEFAULT 0,
    named INTEGER NOT NULL DEFAULT 0,          -- 1: a complete list has seen this name, it stays
    settled_pk INTEGER NOT NULL DEFAULT 0);    -- images with a later ino have provisional names
CREATE UNIQUE INDEX dataset_name ON dataset (organization, file_name) WHERE gone_ns = 0;
CREATE INDEX dataset_id ON dataset (organization, remote_id);

CREATE TABLE dataset_count (
    dataset INTEGER PRIMARY KEY,
    images INTEGER NOT NULL DEFAULT 0,
    known_bytes INTEGER NOT NULL DEFAULT 0,
    cached INTEGER NOT NULL DEFAULT 0);

CREATE TABLE directory (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    dataset INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    file_name TEXT NOT NULL,
    path TEXT NOT NULL,
    mtime_ns INTEGER NOT NULL,
    subdirectories INTEGER NOT NULL DEFAULT 0,
    images INTEGER NOT NULL DEFAULT 0,
    dirty INTEGER NOT NULL DEFAULT 0);         -- since the last listing, 1: entries changed, 2: tallies
CREATE UNIQUE INDEX directory_name ON directory (parent, file_name) WHERE parent > 0;
CREATE UNIQUE INDEX directory_path ON directory (dataset, path);
CREATE INDEX directory_dirty ON directory (dataset) WHERE dirty > 0;
CREATE INDEX directory_empty ON directory (dataset) WHERE images = 0 AND subdirectories = 0;

CREATE TABLE image (
    pk INTEGER PRIMARY KEY,
    ino INTEGER,
    dataset INTEGER NOT NULL,
    directory INTEGER,
    file_name TEXT NOT NULL,
    annotation_name TEXT NOT NULL,
    identity NOT NULL,
    plain TEXT,
    size INTEGER,                              -- as listed; what storage says is in truth
    created_ns INTEGER NOT NULL,
    status INTEGER,
    split INTEGER,
    width INTEGER,
    height INTEGER,
    annotation_count INTEGER,
    tags INTEGER,
    annotation INTEGER,
    marks INTEGER NOT NULL DEFAULT 0);         -- 1: file_name is not the plain one, 2: annotation_name is not
CREATE UNIQUE INDEX image_name ON image (directory, file_name) WHERE directory IS NOT NULL;
CREATE UNIQUE INDEX image_annotation ON image (directory, annotation_name) WHERE directory IS NOT NULL;
CREATE INDEX image_identity ON image (dataset, identity, ino) WHERE directory IS NOT NULL;
CREATE INDEX image_view ON image (directory, split, status, file_name)
    WHERE directory IS NOT NULL AND (split IS NOT NULL OR status IS NOT NULL);
CREATE INDEX image_ino ON image (ino) WHERE ino IS NOT NULL;
CREATE INDEX image_old ON image (pk) WHERE directory IS NULL;
CREATE INDEX image_marked ON image (dataset) WHERE marks > 0 AND directory IS NOT NULL;

CREATE TABLE truth (image INTEGER PRIMARY KEY, size INTEGER, generation, md5, crc32c);

CREATE TABLE annotation (
    pk INTEGER PRIMARY KEY,
    ino INTEGER,
    size INTEGER NOT NULL,
    version NOT NULL,
    mtime_ns INTEGER,                          -- NULL: the image's created_ns
    fetched_ns INTEGER NOT NULL,
    superseded INTEGER NOT NULL DEFAULT 0);
CREATE INDEX annotation_ino ON annotation (ino) WHERE ino IS NOT NULL;
CREATE INDEX annotation_old ON annotation (pk) WHERE superseded = 1;

CREATE TABLE export (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    ino INTEGER,
    dataset INTEGER NOT NULL,
    file_name TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    plain TEXT NOT NULL,
    status TEXT NOT NULL,
    size INTEGER,
    created_ns INTEGER NOT NULL,
    completed_ns INTEGER NOT NULL,
    document BLOB NOT NULL,
    gone INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX export_name ON export (dataset, file_name) WHERE gone = 0;
CREATE INDEX export_old ON export (pk) WHERE gone = 1;

CREATE TABLE tally (
    directory INTEGER NOT NULL,
    field INTEGER NOT NULL,
    word INTEGER NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (directory, field, word)) WITHOUT ROWID;
CREATE TABLE view (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    dataset INTEGER NOT NULL,
    field INTEGER NOT NULL,
    word INTEGER NOT NULL,
    file_name TEXT NOT NULL,
    UNIQUE (dataset, field, word),
    UNIQUE (dataset, field, file_name));
CREATE TABLE view_directory (
    pk INTEGER PRIMARY KEY AUTOINCREMENT,
    view INTEGER NOT NULL,
    directory INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    UNIQUE (view, directory));
CREATE INDEX view_directory_directory ON view_directory (directory);

CREATE TABLE block (
    node INTEGER NOT NULL,
    block INTEGER NOT NULL,
    path NOT NULL,
    size INTEGER NOT NULL,
    crc32c INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    stored_s INTEGER NOT NULL,
    used_s INTEGER NOT NULL,
    PRIMARY KEY (node, block)) WITHOUT ROWID;
CREATE INDEX block_used ON block (used_s);
CREATE TABLE pin (node INTEGER PRIMARY KEY);
"""

_SEQUENCES = ("organization", "dataset", "directory", "export", "view", "view_directory")


def create(db: sqlite3.Connection, first_pk: int) -> None:
    """Makes the tables of an empty file in one transaction; pks begin at `first_pk`."""
    db.execute("PRAGMA page_size = 4096")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            _execute(db, TABLES)
            for table in _SEQUENCES:
                db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, first_pk - 1))
            db.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [
                    ("salt", secrets.token_bytes(16)),
                    ("next_pk", first_pk),
                    ("block_bytes", 0),
                    ("block_files", 0),
                ],
            )
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def upgrade(db: sqlite3.Connection, export_kind: int) -> None:
    """Makes a catalog of an earlier version one of this, in one transaction; nothing where it is one.

    Version 1 knew no members, and kept archives in blocks four times as long: those are fetched again.
    """
    if db.execute("PRAGMA user_version").fetchone()[0] != OLDEST:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == OLDEST:
            _execute(db, MEMBERS)
            files, size_bytes = db.execute(
                "SELECT count(*), ifnull(sum(size), 0) FROM block WHERE node & 255 = ?", (export_kind,)
            ).fetchone()
            db.execute("DELETE FROM block WHERE node & 255 = ?", (export_kind,))
            for name, gone in (("block_files", files), ("block_bytes", size_bytes)):
                db.execute("UPDATE meta SET value = value - ? WHERE name = ?", (gone, name))
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _execute(db: sqlite3.Connection, statements: str) -> None:
    for statement in re.sub(r"--.*", "", statements).split(";"):
        db.execute(statement)
