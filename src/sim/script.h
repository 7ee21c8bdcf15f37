// A script: what several replicas do, as data. Printed as text that reads back exactly, so that a failure can be kept
// and replayed.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sim/value.h"

namespace rejoin::sim {

enum class Op {
  // SQL statements on one connection of a replica
  insert,  // key, set (columns left out get their default)
  insert_or_ignore,
  replace,           // INSERT OR REPLACE
  upsert,            // ON CONFLICT DO UPDATE SET each column of `set` = excluded
  upsert_nothing,    // ON CONFLICT DO NOTHING
  update,            // key, set; an empty set writes every column onto itself
  update_all,        // set, no WHERE
  rekey,             // key, to, set
  rekey_or_replace,  // UPDATE OR REPLACE
  remove,            // DELETE, key
  remove_all,        // DELETE, no WHERE
  begin,             // BEGIN IMMEDIATE
  commit,
  rollback,
  savepoint,  // number: its name
  release,
  rollback_to,
  reopen,  // closes the connection (an open transaction is lost) and opens it again
  // calls of Rejoin on one connection
  restore,  // key
  fold,
  compact,      // number: for how many days deletions are kept from then on; 0: as before
  alter,        // the table's next change; number 1: by plain SQL where that will do, 2: between begin and commit
  alter_begin,  // rejoin_alter_begin: what follows on this connection is compared at the end
  alter_commit,
  index,  // number: which of TableSpec::late is made, or dropped where it is; connections 1 and 2: by plain SQL
  // the world
  clock,    // number: the replica's clock moves by so many milliseconds
  send,     // a changeset for `peer`, since what that one has acknowledged, is put in the mail
  deliver,  // number: which letter of the mail `replica` gets; it stays there, so it may come again
  drop,     // number: which letter is lost
  sync,     // replica <- peer: send and deliver at once
  page,     // replica <- peer: one page of at most `number` bytes from the cursor; lost if `key` says so
  clone,    // replica's file becomes a copy of peer's, with a new identity
};

// Names as a script has them ("insert_or_ignore").
std::string_view op_name(Op op);

// How a page travels.
enum class Fate { arrive, lose, twice, early };  // early: the page after this one is delivered first

struct Step {
  Op op = Op::fold;
  int replica = 0;
  int connection = 0;  // 0, 1: have Rejoin; 2: never heard of it
  int peer = 0;
  int table = -1;  // index into table_specs()
  int64_t number = 0;
  Fate fate = Fate::arrive;
  Key key;
  Key to;
  std::vector<std::pair<int, Value>> set;  // column index in TableSpec::columns, value
  friend bool operator==(const Step&, const Step&) = default;
};

struct Script {
  uint64_t seed = 0;
  int replicas = 3;
  bool files = false;        // real files in WAL mode, else SQLite's memdb
  bool enforced = false;     // PRAGMA foreign_keys
  bool recursive = false;    // PRAGMA recursive_triggers
  std::vector<int> tables;   // indexes into table_specs()
  std::vector<Step> before;  // run before the tables are tracked
  std::vector<Step> steps;
  friend bool operator==(const Script&, const Script&) = default;
};

std::string print(const Step& step);
std::string print(const Script& script);
// Errors: bad_argument, naming the line.
Result<Script> parse_script(std::string_view text);

}  // namespace rejoin::sim
