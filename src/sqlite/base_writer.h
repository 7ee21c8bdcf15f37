// Writes merged rows into the application's table and the shadow table: prepared once per set of columns, one execution
// per row.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "crdt/column_set.h"
#include "sqlite/context.h"

namespace rejoin::sqlite {

enum class Wrote {
  done,
  refused,  // by a constraint, a trigger or an expression of the application's; reason() says which
};

class BaseWriter {
 public:
  // `triggers`: the application's triggers run, and may refuse, ignore or roll back what is written.
  BaseWriter(Context& ctx, const Table& table, bool triggers = false) : ctx_(ctx), table_(table), triggers_(triggers) {}

  // How a row is inserted, with all columns.
  std::string insert_sql() const { return insert_sql("INSERT OR ABORT", table_.quoted()); }

  // A row's values by column id; those not in `given` are NULL (or, for a new row, the column's default).
  struct Row {
    std::vector<crdt::ValueRef> key;
    std::vector<crdt::ValueRef> values;  // by column id
  };

  Result<Wrote> insert(const Row& row);
  // Takes every row out that stands in its way.
  Result<Wrote> replace(const Row& row);
  // Sets `columns` of a row that is there.
  Result<Wrote> update(const Row& row, const crdt::ColumnSet& columns);
  // Also where the application's triggers refuse it, or cannot run: then they are left out. Refused where it may not
  // go.
  Result<Wrote> erase(const Row& row);
  // False when an index's expression fails on what the row holds: then nobody can change it or take it out.
  Result<bool> may_go(const Row& row);
  // Copies the row into the shadow table.
  Status copy_to_shadow(const Row& row);
  Status insert_shadow(const Row& row);
  // Sets `columns` of the shadow row, which is made when missing.
  Status update_shadow(const Row& row, const crdt::ColumnSet& columns);
  Status erase_shadow(const Row& row);
  const std::string& reason() const { return reason_; }

  // Would the table give back something else than it was sent?
  static bool altered_by_affinity(const crdt::ValueRef& v, Affinity affinity);

 private:
  std::string insert_sql(const char* verb, const std::string& into) const;
  Result<Statement*> insert_statement(const char* verb, const std::string& into);
  void bind_row(Statement& s, const Row& row);
  // Compiles a statement that writes to the application's table, and its triggers. Nothing: these can't be here.
  Result<Statement*> compile(Result<Statement*> statement);
  Result<Wrote> run(Statement& s);
  bool fails_on_values(int rc) const;
  std::string failed_on_values() const;
  Result<Wrote> run_once(Statement& s);
  Result<Statement*> erase_statement();
  Result<bool> is_there(const Row& row);
  Result<Wrote> erase_without_triggers(const Row& row);
  Result<Wrote> erase_without_temporary_triggers(const Row& row);
  int bind_key(Statement& s, const Row& row, int at);
  Result<Statement*> update_statement(const crdt::ColumnSet& columns, bool shadow);

  Context& ctx_;
  const Table& table_;
  bool triggers_;
  Statement* insert_ = nullptr;
  Statement* update_ = nullptr;
  crdt::ColumnSet update_columns_;
  Statement* shadow_update_ = nullptr;
  crdt::ColumnSet shadow_update_columns_;
  std::string reason_;
};

}  // namespace rejoin::sqlite
