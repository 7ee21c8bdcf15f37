// What a tracked file costs besides writes and merges: the fold alone, changes of a table, compaction.
#pragma once

#include "bench/support/prepared.h"

namespace rejoin::bench {

inline Side fold_all() {
  return [](Workspace& space, Meter& meter) {
    Database db(space.scratch(full_db(space, todo_shape(), Tracked::yes)));
    sqlite::Replica replica(db.handle());
    meter.start();
    must(replica.fold(), "fold");
    meter.stop();
  };
}

// One statement: as it stands, or through rejoin_alter().
inline Side alter_statement(Tracked tracked, std::string sql) {
  return [=](Workspace& space, Meter& meter) {
    Database db(space.scratch(settled_db(space, todo_shape(), tracked)));
    sqlite::Replica replica(db.handle());
    const int64_t seq = tracked == Tracked::yes ? must(replica.seq(), "seq") : 0;
    meter.start();
    if (tracked == Tracked::yes) {
      must(replica.alter(sql), "alter");
    } else {
      db.exec(sql);
    }
    meter.stop();
    if (tracked == Tracked::yes && must(replica.seq(), "seq") != seq) die("the alter is something to send");
  };
}

// Another definition of the table: copied, and put in the old one's place, as SQLite's documentation advises.
inline Side alter_table_anew(Tracked tracked) {
  return [=](Workspace& space, Meter& meter) {
    const std::string columns = "title TEXT NOT NULL DEFAULT '', done INTEGER CHECK (done IN (0, 1)), priority INTEGER";
    Database db(space.scratch(settled_db(space, todo_shape(), tracked)));
    sqlite::Replica replica(db.handle());
    meter.start();
    if (tracked == Tracked::yes) {
      must(replica.alter_begin("todos"), "alter_begin");
    } else {
      db.exec("BEGIN");
    }
    db.exec("CREATE TABLE anew(id TEXT PRIMARY KEY, " + columns + ")");
    db.exec("INSERT INTO anew SELECT * FROM todos");
    db.exec("DROP TABLE todos");
    db.exec("ALTER TABLE anew RENAME TO todos");
    if (tracked == Tracked::yes) {
      must(replica.alter_commit("todos"), "alter_commit");
    } else {
      db.exec("COMMIT");
    }
    meter.stop();
  };
}

// The log of all rows, and the deletion of every second.
inline Side compact_all() {
  return [](Workspace& space, Meter& meter) {
    Database db(space.scratch(folded_db(space, todo_shape())));
    sqlite::Replica replica(db.handle());
    db.exec("DELETE FROM todos WHERE rowid % 2");
    must(replica.fold(), "fold");
    meter.start();
    must(replica.compact(0), "compact");
    meter.stop();
  };
}

inline std::vector<Case> upkeep_cases() {
  auto alter = [](std::string name, const std::string& sql) {
    return Case{std::move(name), alter_statement(Tracked::no, sql), alter_statement(Tracked::yes, sql)};
  };
  return {
      {"fold", {}, fold_all()},
      alter("alter_add", "ALTER TABLE todos ADD COLUMN due TEXT DEFAULT 'never'"),
      alter("alter_drop", "ALTER TABLE todos DROP COLUMN priority"),
      alter("alter_rename", "ALTER TABLE todos RENAME COLUMN priority TO urgency"),
      {"alter_anew", alter_table_anew(Tracked::no), alter_table_anew(Tracked::yes)},
      {"compact", {}, compact_all()},
  };
}

}  // namespace rejoin::bench
