// What devices and plain SQL do to one PostgreSQL, as data: drawn from a seed, printed as text that reads back, so that
// a failure can be kept and replayed (tests/scripts/postgres).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace rejoin::testing {

// The tables of every script. Each has the tenant in a column that devices don't have.
enum ModelTable { kItem, kLine, kPerson, kTask, kNote };
inline constexpr std::array<const char*, 5> kModelTables{"item", "line", "person", "task", "note"};

inline constexpr int kModelDevices = 4;   // d0, d1, d2 are of one tenant, d3 is another's
inline constexpr int kModelTogether = 3;  // so many are of one tenant
inline constexpr int kModelSessions = 3;  // s0, s1, s2: connections for plain SQL

enum class ModelOp {
  // a device or plain SQL
  insert,
  update,      // the columns in `set`
  remove,      // DELETE
  upsert,      // ON CONFLICT DO UPDATE SET the columns in `set`
  rekey,       // key becomes `to`
  shift,       // of table line: the key of several rows, in one statement
  update_all,  // several rows, in one statement
  remove_all,
  begin,  // plain SQL: odd `v` is REPEATABLE READ
  commit,
  rollback,
  // a device
  replace,  // INSERT OR REPLACE
  restore,
  retry,    // rejoin_retry()
  discard,  // rejoin_discard()
  compact,  // by plain SQL: the log is long, and device `key` was not seen for years, so that the next push forgets it
  sync,  // at node `key`; fault `to` befalls exchange `set`; the `table` next steps of plain SQL run in between. Open
         // transactions that it waits for commit if `v` is odd, else they roll back
  sync_together,  // this device, to which the fault happens, and the `table` next ones of its tenant: their pushes are
                  // written together, its first one damaged if `v` is divisible by 5
  // plain SQL
  insert_many,  // several keys, those that are there are passed over
  copy,         // COPY … FROM
  merge,        // MERGE, from PostgreSQL 15 on
  truncate,
  move,   // to the other tenant
  track,  // once more
  // nobody
  back_up,
  go_back,  // everything is as it was at back_up
};
inline constexpr std::array<const char*, 26> kModelOps{
    "insert",      "update",   "remove",  "upsert",   "rekey", "shift",   "update_all", "remove_all", "begin",
    "commit",      "rollback", "replace", "restore",  "retry", "discard", "compact",    "sync",       "sync_together",
    "insert_many", "copy",     "merge",   "truncate", "move",  "track",   "back_up",    "go_back"};

// What may befall a sync, as ModelStep::to says it.
inline constexpr std::array<const char*, 6> kModelFaults{"none",           "lose_request", "lose_response",
                                                         "repeat_request", "cut_response", "lose_all"};

struct ModelStep {
  int who = 0;  // devices first, then sessions
  ModelOp op = ModelOp::sync;
  int table = 0;
  int key = 0;
  int to = 0;
  int set = 0;  // bits of columns
  int v = 0;    // what the values are made of
  bool syncs() const { return op == ModelOp::sync || op == ModelOp::sync_together; }
  bool sql() const { return who >= kModelDevices; }
  bool restores() const { return op == ModelOp::back_up || op == ModelOp::go_back; }
};

struct ModelScript {
  uint64_t seed = 0;
  bool foreign_keys = true;  // devices enforce them
  bool deferred = false;     // they are judged at COMMIT, everywhere
  bool small_pages = false;  // pages and pushes of a few rows
  std::vector<ModelStep> steps;
};

ModelScript generate_model(uint64_t seed);
std::string print(const ModelStep& step);
std::string print(const ModelScript& script);
// Errors: bad_argument, naming the line.
Result<ModelScript> parse_model(std::string_view text);

}  // namespace rejoin::testing
