#include "sqlite/temporary_triggers.h"

#include <utility>

#include "sqlite/sql.h"

namespace rejoin::sqlite {

Status TemporaryTriggers::take(const std::string& table) {
  std::vector<std::string> names;
  {
    REJOIN_ASSIGN(Statement s, prepare(db_,
                                       "SELECT name, sql FROM sqlite_temp_schema WHERE type='trigger' AND "
                                       "tbl_name=?1 COLLATE NOCASE AND name NOT GLOB 'rejoin_capture_*'"));
    s.bind_text(1, table);
    for (;;) {
      REJOIN_ASSIGN(const bool more, s.step("reading the temporary triggers"));
      if (!more) break;
      constexpr std::string_view kStored = "CREATE TRIGGER ";  // SQLite keeps it without TEMP
      names.emplace_back(s.text(0));
      taken_.push_back("CREATE TEMP TRIGGER " + std::string(s.text(1).substr(kStored.size())));
    }
  }
  for (const std::string& name : names) REJOIN_TRY(exec(db_, "DROP TRIGGER temp." + quote(name)));
  return {};
}

Status TemporaryTriggers::put_back() {
  for (const std::string& sql : std::exchange(taken_, {})) REJOIN_TRY(exec(db_, sql));
  return {};
}

}  // namespace rejoin::sqlite
