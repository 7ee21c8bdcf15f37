#include "sqlite/reading_caller.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string>
#include <vector>

#include "sqlite/sql.h"

namespace rejoin::sqlite {
namespace {

// As EXPLAIN has it.
struct Operation {
  std::string name;
  int64_t p1, p2;
  bool merges;  // calls rejoin_apply

  bool opens() const { return name == "OpenRead" || name == "OpenWrite"; }
};

// Most calls are about one changeset, and those need no look at the plan.
bool has_from(std::string_view sql) {
  static constexpr std::string_view kFrom = "from";
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  return std::search(sql.begin(), sql.end(), kFrom.begin(), kFrom.end(), same) != sql.end();
}

std::vector<Operation> plan_of(sqlite3* db, const char* sql) {
  std::vector<Operation> plan;
  Result<Statement> explain = prepare(db, "EXPLAIN " + std::string(sql));
  while (explain.ok()) {
    Result<bool> row = explain->step("reading a plan");
    if (!row.ok() || !*row) break;
    const std::string name(explain->text(1));
    const bool call = name == "Function" || name == "PureFunc";
    plan.push_back({name, explain->integer(2), explain->integer(3), call && explain->text(5) == "rejoin_apply(1)"});
  }
  return plan;
}

// After a call: does the statement open a table, or read on in one? A loop ends with a jump back to where it begins:
// Next and Prev of a table's cursor, and Goto back to the Yield that asks a co-routine, which may read a table.
void look(const std::vector<Operation>& plan, bool& opens, bool& reads) {
  std::set<int64_t> tables;
  for (const Operation& o : plan)
    if (o.opens()) tables.insert(o.p1);
  const auto advances = [&](const Operation& o) {
    return (o.name == "Next" || o.name == "Prev") && tables.contains(o.p1);
  };
  const auto opened = [](const Operation& o) { return o.opens(); };
  for (auto call = plan.begin(); call != plan.end(); ++call) {
    if (!call->merges) continue;
    opens = opens || std::any_of(call, plan.end(), opened);
    for (auto end = call + 1; end != plan.end(); ++end) {
      if (end->p2 < 0 || end->p2 > call - plan.begin()) continue;
      const auto begin = plan.begin() + end->p2;
      const bool cursor = end->name == "Next" || end->name == "Prev";
      const bool routine = end->name == "Goto" && begin->name == "Yield";
      if (!cursor && !routine) continue;
      reads = reads || advances(*end) || (routine && std::any_of(plan.begin(), begin, advances));
      opens = opens || std::any_of(begin, end, opened);
    }
  }
}

void look(sqlite3* db, bool& opens, bool& reads) {
  for (sqlite3_stmt* s = sqlite3_next_stmt(db, nullptr); s; s = sqlite3_next_stmt(db, s)) {
    const char* sql = sqlite3_stmt_busy(s) ? sqlite3_sql(s) : nullptr;
    if (sql && has_from(sql)) look(plan_of(db, sql), opens, reads);
  }
}

Error wrong(const char* what) {
  return fail(Code::bad_argument, std::string("SQLite would end this statement halfway, because it ") + what +
                                      " after a changeset was merged; nothing of this one was. Let it read all of them "
                                      "first: WITH news AS MATERIALIZED (SELECT c FROM …) SELECT rejoin_apply(c) FROM "
                                      "news");
}

}  // namespace

Status caller_outlives_expiry(sqlite3* db) {
  bool opens = false, reads = false;
  look(db, opens, reads);
  if (opens) return wrong("opens a table");
  return {};
}

Status caller_outlives_rollback(sqlite3* db) {
  bool opens = false, reads = false;
  look(db, opens, reads);
  if (reads) return wrong("reads on in a table");
  return {};
}

}  // namespace rejoin::sqlite
