// What a statement that is given to rejoin_alter() changes.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace rejoin::sqlite {

struct AlterSql {
  enum class Kind { alter_table, create_index, drop_index } kind = Kind::alter_table;
  std::string name;        // of the table; of the index for drop_index
  bool qualified = false;  // it says main.
};

// Reads one ALTER TABLE, CREATE INDEX or DROP INDEX as far as its table's or index's name; what follows is SQLite's.
// Errors: bad_argument for anything else, for several statements, and for another database than main.
Result<AlterSql> read_alter_sql(std::string_view sql);

}  // namespace rejoin::sqlite
