// What became of a table's rows while it was altered: the table as it is, compared with the copy of what it was.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sqlite/context.h"

namespace rejoin::sqlite {

struct AlteredRows {
  AlteredRows(Table was, Table is) : before(std::move(was)), after(std::move(is)) {}

  Table before;  // its rows are in "<table>__rejoin_alter"
  Table after;
  std::vector<std::pair<std::string, std::string>> renamed;
  bool other_rows = false;  // none of them can be told to be one of before

  // What a column is called now.
  std::string name_now(const std::string& name) const;
  // Do the rows have in the key column `to` what they had in `from`?
  Result<bool> keeps_keys(Context& ctx, const std::string& from, const std::string& to) const;
  // The same for other columns: in all rows, and not only because all of them have the default of `to`.
  Result<bool> keeps_values(Context& ctx, const std::string& from, const std::string& to) const;

  // Are keys of the types that they were? 1 and '1' are two keys.
  Result<bool> keeps_key_types(Context& ctx) const;

  // To be called when all of `renamed` is known.
  void map_columns();
  // The column that one has become, by its id; null when it was dropped.
  const Column* column_now(uint32_t column) const { return now_[column]; }
  std::vector<std::string> new_columns() const;

  // Logs what was inserted, deleted and updated meanwhile as writes of now. The ids of columns have been settled.
  Status log_changes(Work& work) const;
  // The key is another one. Rows that can still be told to be the same, by the columns of the old key, take their
  // versions along; others are new. All of them are news: with this key nobody has them.
  Status log_new_key(Work& work) const;

 private:
  std::string copy() const { return "main." + quote(copy_table(after.name)); }
  std::string same_row() const;
  std::string differs(const std::string& from, const Column& to) const;
  Status log_updates(Work& work) const;
  bool loses_type(uint32_t column) const;
  Status log_retyped(Work& work, const Table& table, const std::vector<uint32_t>& columns) const;
  Status settle_ids(Context& ctx) const;
  Status carry_records(Work& work, const Table& table) const;

  std::vector<const Column*> now_;
};

}  // namespace rejoin::sqlite
