#include "sqlite/layout.h"

#include "sqlite/context.h"
#include "sqlite/side_alter.h"

namespace rejoin::sqlite {

Status create_layout(Context& ctx) {
  REJOIN_TRY(exec(ctx.db, R"sql(
CREATE TABLE main.rejoin_state(id INTEGER PRIMARY KEY CHECK(id=1), format INTEGER NOT NULL, site INTEGER NOT NULL,
  last INTEGER NOT NULL, last_remote INTEGER NOT NULL, folded INTEGER NOT NULL, floor INTEGER NOT NULL, file INTEGER NOT NULL,
  horizon INTEGER NOT NULL DEFAULT 0, purged INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL DEFAULT 0, keep_days INTEGER NOT NULL DEFAULT -1, looked INTEGER NOT NULL DEFAULT 0,
  look_table INTEGER NOT NULL DEFAULT 0, look_key BLOB NOT NULL DEFAULT x'');
CREATE TABLE main.rejoin_site(id INTEGER PRIMARY KEY, site BLOB NOT NULL UNIQUE);
CREATE TABLE main.rejoin_table(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, allow_integer_key INTEGER NOT NULL, keep_deleted INTEGER NOT NULL);
CREATE TABLE main.rejoin_untracked(name TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
CREATE TABLE main.rejoin_column(tbl INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY(tbl, id)) WITHOUT ROWID;
CREATE TABLE main.rejoin_former(tbl INTEGER NOT NULL, col INTEGER, name TEXT NOT NULL COLLATE NOCASE);
CREATE TABLE main.rejoin_log(seq INTEGER PRIMARY KEY, tbl, op, bits, ms, k0);
CREATE TABLE main.rejoin_batch(last_seq INTEGER PRIMARY KEY, token INTEGER NOT NULL, origin INTEGER);
CREATE TABLE main.rejoin_aside(id INTEGER PRIMARY KEY, table_name TEXT NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL, since INTEGER NOT NULL,
  due INTEGER, k BLOB, frame BLOB);
CREATE INDEX main.rejoin_parked_key ON rejoin_aside(table_name, k);
CREATE INDEX main.rejoin_parked_due ON rejoin_aside(due) WHERE due IS NOT NULL;
CREATE INDEX main.rejoin_parked_hidden ON rejoin_aside(table_name, k) WHERE frame IS NULL;
CREATE TABLE main.rejoin_lost(id INTEGER PRIMARY KEY, tbl INTEGER NOT NULL, k BLOB NOT NULL, col INTEGER NOT NULL, hlc INTEGER NOT NULL, site INTEGER NOT NULL, value);
CREATE INDEX main.rejoin_lost_key ON rejoin_lost(tbl, k);
CREATE TABLE main.rejoin_stream(source BLOB PRIMARY KEY, next BLOB NOT NULL, horizon INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE main.rejoin_staged(id INTEGER PRIMARY KEY, source BLOB NOT NULL, frame BLOB NOT NULL);
CREATE TABLE main.rejoin_peer(url TEXT PRIMARY KEY, token TEXT, is_default INTEGER NOT NULL DEFAULT 0, site BLOB, pull_cursor BLOB, push_cursor BLOB, pushed INTEGER NOT NULL DEFAULT 0,
  pull_all INTEGER NOT NULL DEFAULT 0, chain_token BLOB, nonce BLOB, frozen BLOB, frozen_cursor BLOB, frozen_through INTEGER, frozen_rows INTEGER, frozen_more INTEGER,
  may_relay INTEGER NOT NULL DEFAULT 0, max_frame_bytes INTEGER, max_value_bytes INTEGER, schema TEXT,
  pushed_rows INTEGER NOT NULL DEFAULT 0, pulled_rows INTEGER NOT NULL DEFAULT 0, last_sync INTEGER, last_error TEXT,
  migrate INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE main.rejoin_device(device TEXT NOT NULL, site BLOB NOT NULL, counter INTEGER NOT NULL, token BLOB NOT NULL, nonce BLOB, reply BLOB, last_seen INTEGER NOT NULL,
  acknowledged INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(device, site)) WITHOUT ROWID;
CREATE TABLE main.rejoin_rejections(id INTEGER PRIMARY KEY, table_name TEXT NOT NULL, key TEXT NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL, server TEXT, k BLOB NOT NULL, held INTEGER NOT NULL DEFAULT 0,
  versions BLOB, told BLOB, UNIQUE(table_name, k));
CREATE TABLE main.rejoin_evicted(table_name TEXT NOT NULL, k BLOB NOT NULL, horizon INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(table_name, k)) WITHOUT ROWID;
CREATE TABLE main.rejoin_discarded(table_name TEXT NOT NULL, k BLOB NOT NULL, versions BLOB NOT NULL, PRIMARY KEY(table_name, k)) WITHOUT ROWID;
CREATE TABLE main.rejoin_contract(fingerprint TEXT PRIMARY KEY, json TEXT NOT NULL, complete INTEGER NOT NULL) WITHOUT ROWID;
)sql"));
  Bytes site = ctx.random.bytes(16);
  REJOIN_ASSIGN(Statement add, prepare(ctx.db, "INSERT INTO main.rejoin_site(id, site) VALUES(0, ?1)"));
  add.bind_blob(1, site);
  REJOIN_TRY(add.run("minting the site id"));
  REJOIN_ASSIGN(Statement state, prepare(ctx.db,
                                         "INSERT INTO main.rejoin_state(id, format, site, last, last_remote, folded, "
                                         "floor, file) VALUES(1, ?1, 0, 0, 0, 0, 0, ?2)"));
  state.bind(1, kFormat);
  state.bind(2, file_identity(ctx.db));
  return state.run("creating the state row");
}

Status upgrade_layout(Context& ctx, int64_t from) {
  // Format 2: what a server told about refused rows, rows that were discarded, rows that are to leave.
  if (from < 2)
    REJOIN_TRY(exec(ctx.db, R"sql(
ALTER TABLE main.rejoin_peer ADD COLUMN pull_all INTEGER NOT NULL DEFAULT 0;
ALTER TABLE main.rejoin_rejections ADD COLUMN server TEXT;
ALTER TABLE main.rejoin_rejections ADD COLUMN versions BLOB;
ALTER TABLE main.rejoin_rejections ADD COLUMN told BLOB;
CREATE TABLE main.rejoin_evicted(table_name TEXT NOT NULL, k BLOB NOT NULL, PRIMARY KEY(table_name, k)) WITHOUT ROWID;
CREATE TABLE main.rejoin_discarded(table_name TEXT NOT NULL, k BLOB NOT NULL, versions BLOB NOT NULL, PRIMARY KEY(table_name, k)) WITHOUT ROWID;
)sql"));
  // Format 3: former names of tables and columns, whether a server's contract may change this database, how far
  // deletions are forgotten.
  if (from < 3)
    REJOIN_TRY(exec(ctx.db, R"sql(
CREATE TABLE main.rejoin_former(tbl INTEGER NOT NULL, col INTEGER, name TEXT NOT NULL COLLATE NOCASE);
ALTER TABLE main.rejoin_peer ADD COLUMN migrate INTEGER NOT NULL DEFAULT 0;
ALTER TABLE main.rejoin_evicted ADD COLUMN horizon INTEGER NOT NULL DEFAULT 0;
ALTER TABLE main.rejoin_state ADD COLUMN horizon INTEGER NOT NULL DEFAULT 0;
ALTER TABLE main.rejoin_state ADD COLUMN purged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE main.rejoin_state ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE main.rejoin_state ADD COLUMN keep_days INTEGER NOT NULL DEFAULT -1;
ALTER TABLE main.rejoin_state ADD COLUMN looked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE main.rejoin_state ADD COLUMN look_table INTEGER NOT NULL DEFAULT 0;
ALTER TABLE main.rejoin_state ADD COLUMN look_key BLOB NOT NULL DEFAULT x'';
UPDATE main.rejoin_state SET sent=(SELECT coalesce(max(pushed), 0) FROM main.rejoin_peer);
)sql"));
  // Format 4: each merge asks for rows whose time has come, and for hidden ones, among all that are kept aside.
  if (from < 4)
    REJOIN_TRY(exec(ctx.db, R"sql(
CREATE INDEX main.rejoin_parked_due ON rejoin_parked(due) WHERE due IS NOT NULL;
CREATE INDEX main.rejoin_parked_hidden ON rejoin_parked(table_name, k) WHERE frame IS NULL;
)sql"));
  // Format 5: rejoin_parked is a virtual table, which shows columns and values of what is kept aside.
  // Nothing is dropped for it: that fails while a statement reads.
  if (from < 5) REJOIN_TRY(alter_side_table(ctx.db, "ALTER TABLE main.rejoin_parked RENAME TO rejoin_aside"));
  return exec(ctx.db, "UPDATE main.rejoin_state SET format=" + std::to_string(kFormat));
}

}  // namespace rejoin::sqlite
