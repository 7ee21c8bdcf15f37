#include "sqlite/migrate.h"

#include <algorithm>

#include "contract/contract.h"
#include "sqlite/alter.h"
#include "sqlite/fold.h"
#include "sqlite/track.h"

namespace rejoin::sqlite {
namespace {

Error refusal(const std::string& table, const std::string& why) {
  return fail(Code::schema_refused, "the server's contract cannot be followed: table \"" + table + "\" " + why +
                                        "; nothing was changed, syncing goes on without it");
}

// What the app dropped, or does not sync any more, stays so.
Result<bool> given_up(Context& ctx, const std::string& table) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_untracked WHERE name=?1"));
  Use use(*s);
  s->bind_text(1, table);
  return s->step("looking for tables that are not synced any more");
}

Result<int64_t> make_table(Context& ctx, const contract::Table& wanted) {
  REJOIN_ASSIGN(const bool unwanted, given_up(ctx, wanted.name));
  if (unwanted) return int64_t{0};
  REJOIN_ASSIGN(const bool there, is_table(ctx.db, wanted.name));
  if (there) return refusal(wanted.name, "is here and is not synced (rejoin_track() makes it so)");
  ctx.statements.clear();
  if (Status made = exec(ctx.db, contract::sqlite_ddl(wanted)); !made) {
    if (made.error().code == Code::internal)
      return refusal(wanted.name, "cannot be made here: " + made.error().message);
    return made.error();
  }
  TrackOptions options;
  options.allow_integer_key = true;
  REJOIN_TRY(track(ctx, wanted.name, options));
  return int64_t{1};
}

Result<int64_t> make_columns(Work& work, const Table& have, const contract::Table& wanted) {
  if (!names_key(have, wanted.key)) return refusal(wanted.name, "has another key here");
  std::vector<std::string> ddl;
  for (const contract::Column& c : wanted.columns) {
    const auto same = [&](const Column& here) {
      return here.present && sqlite3_stricmp(here.name.c_str(), c.name.c_str()) == 0;
    };
    if (std::any_of(have.columns.begin(), have.columns.end(), same) ||
        std::any_of(have.key.begin(), have.key.end(), same))
      continue;
    // What the app calls otherwise by now is not missing.
    const auto was = [&](const FormerName& f) { return sqlite3_stricmp(f.name.c_str(), c.name.c_str()) == 0; };
    if (std::any_of(have.former.begin(), have.former.end(), was)) continue;
    ddl.push_back(contract::sqlite_column_ddl(c));
  }
  if (ddl.empty()) return int64_t{0};
  if (Status made = add_declared_columns(work, have.id, ddl); !made) {
    if (made.error().code == Code::internal)
      return refusal(wanted.name, "cannot get its new columns here: " + made.error().message);
    return made.error();
  }
  return static_cast<int64_t>(ddl.size());
}

}  // namespace

Result<int64_t> migrate(Context& ctx, const std::string& contract_json) {
  REJOIN_ASSIGN(const contract::Contract contract, contract::from_json(contract_json));
  REJOIN_ASSIGN(Work work, Work::write(ctx, true));
  REJOIN_TRY(fold(work));
  int64_t made = 0;
  for (const contract::Table& wanted : contract.tables) {
    const Table* found = ctx.catalog.find_named(wanted.name);
    if (!found) {
      REJOIN_ASSIGN(const int64_t tables, make_table(ctx, wanted));
      made += tables;
      continue;
    }
    const Table have = *found;
    REJOIN_ASSIGN(const int64_t columns, make_columns(work, have, wanted));
    made += columns;
  }
  REJOIN_TRY(work.commit());
  return made;
}

}  // namespace rejoin::sqlite
