// Tables with constraints that change while a script runs: columns of a UNIQUE index, of a CHECK and of a foreign key
// get other names, so do parents and children, and an index goes. Columns that come have no part in any constraint.
#include "sim/tables.h"

namespace rejoin::sim {
namespace {

std::vector<Value> some_keys(const char* letter, bool or_null) {
  std::vector<Value> out;
  for (int i = 0; i < 3; ++i) out.push_back(Value::text(letter + std::to_string(i)));
  if (or_null) out.push_back(Value::null());
  return out;
}

std::vector<Key> as_keys(const char* letter) {
  std::vector<Key> out;
  for (Value& v : some_keys(letter, false)) out.push_back({std::move(v)});
  return out;
}

std::vector<Value> integers(std::initializer_list<int64_t> all) {
  std::vector<Value> out;
  for (int64_t i : all) out.push_back(Value::of(i));
  return out;
}

TableSpec shelves() {
  const std::vector<Value> names = {Value::text("a"), Value::text("b"), Value::null()};
  TableSpec spec{"shelves",
                 "shelves",
                 "CREATE TABLE shelves(id TEXT PRIMARY KEY NOT NULL, name TEXT UNIQUE, room TEXT) WITHOUT "
                 "ROWID",
                 {"id"},
                 {{"name", Kind::text, {}, names},
                  {"room", Kind::text, {}},
                  {"title", Kind::text, {}, names},
                  {"note", Kind::text, Value::text("none")}},
                 as_keys("s")};
  spec.unique = {{{0}}};
  spec.late = {{{3}, true, -1, "late_note"}};
  spec.constrained = true;
  spec.alters = {{AlterSpec::rename, "ALTER TABLE shelves RENAME COLUMN name TO title", 0, 2},
                 {AlterSpec::add, "ALTER TABLE shelves ADD COLUMN note TEXT DEFAULT 'none'", 3},
                 {AlterSpec::rename_table, "ALTER TABLE shelves RENAME TO racks", -1, -1, "racks"},
                 {AlterSpec::drop, "ALTER TABLE racks DROP COLUMN room", 1}};
  return spec;
}

TableSpec books() {
  TableSpec spec{
      "books",
      "books",
      "CREATE TABLE books(id TEXT PRIMARY KEY NOT NULL, shelf TEXT REFERENCES shelves ON DELETE CASCADE, slot "
      "INTEGER, low INTEGER DEFAULT 0, high INTEGER DEFAULT 9, CHECK (low <= high)) WITHOUT ROWID; "
      "CREATE UNIQUE INDEX books_slot ON books(slot)",
      {"id"},
      {{"shelf", Kind::text, {}, some_keys("s", true), true},
       {"slot", Kind::integer, {}, integers({1, 2, 3})},
       {"low", Kind::integer, Value::of(int64_t{0}), integers({0, 4, 7})},
       {"high", Kind::integer, Value::of(int64_t{9}), integers({9, 5, 3})},
       {"place", Kind::integer, {}, integers({1, 2, 3})},
       {"least", Kind::integer, Value::of(int64_t{0}), integers({0, 4, 7})},
       {"rack", Kind::text, {}, some_keys("s", true), true}},
      as_keys("b")};
  spec.unique = {{{1}}};
  spec.late = {{{0, 2}, false, -1, "late_low"}};
  spec.references = {{0, "shelves", OnDelete::cascade}};
  spec.low = 2, spec.high = 3;
  spec.constrained = true;
  spec.alters = {{AlterSpec::rename, "ALTER TABLE books RENAME COLUMN slot TO place", 1, 4},
                 {AlterSpec::rename_table, "ALTER TABLE books RENAME TO volumes", -1, -1, "volumes"},
                 {AlterSpec::rename, "ALTER TABLE volumes RENAME COLUMN low TO least", 2, 5},
                 {AlterSpec::create_index, "CREATE INDEX volumes_shelf ON volumes(shelf)"},
                 {AlterSpec::rename, "ALTER TABLE volumes RENAME COLUMN shelf TO rack", 0, 6},
                 {AlterSpec::drop_index, "DROP INDEX books_slot", 0}};
  return spec;
}

TableSpec loans() {
  TableSpec spec{
      "loans",
      "loans",
      "CREATE TABLE loans(id TEXT PRIMARY KEY NOT NULL, book TEXT REFERENCES books ON DELETE SET NULL, body)",
      {"id"},
      {{"book", Kind::text, {}, some_keys("b", true), true},
       {"body", Kind::any, {}},
       {"volume", Kind::text, {}, some_keys("b", true), true}},
      as_keys("o")};
  spec.late = {{{0}, false, -1, "late_book"}};
  spec.references = {{0, "books", OnDelete::set_null}};
  spec.constrained = true;
  spec.alters = {{AlterSpec::rename, "ALTER TABLE loans RENAME COLUMN book TO volume", 0, 2}};
  return spec;
}

}  // namespace

std::vector<TableSpec> altered_constrained_tables() { return {shelves(), books(), loans()}; }

}  // namespace rejoin::sim
