// Tables whose columns come, go and change their names while a script runs, that are renamed themselves or get
// another key.
#include "sim/tables.h"

namespace rejoin::sim {
namespace {

TableSpec grown() {
  TableSpec spec{"grown",
                 "grown",
                 "CREATE TABLE grown(id TEXT PRIMARY KEY, a TEXT, n INTEGER DEFAULT 1)",
                 {"id"},
                 {{"a", Kind::text, {}},
                  {"n", Kind::integer, Value::of(int64_t{1})},
                  {"b", Kind::text, Value::text("none")},
                  {"title", Kind::text, {}},
                  {"d", Kind::any, Value::of(int64_t{7})}},
                 {{Value::text("g1")}, {Value::text("g2")}, {Value::text("g3")}}};
  spec.alters = {{AlterSpec::add, "ALTER TABLE grown ADD COLUMN b TEXT DEFAULT 'none'", 2},
                 {AlterSpec::rename_table, "ALTER TABLE grown RENAME TO \"grown up\"", -1, -1, "grown up"},
                 {AlterSpec::rename, "ALTER TABLE \"grown up\" RENAME COLUMN a TO title", 0, 3},
                 {AlterSpec::add, "ALTER TABLE \"grown up\" ADD COLUMN d DEFAULT 7", 4},
                 {AlterSpec::drop, "ALTER TABLE \"grown up\" DROP COLUMN n", 1}};
  return spec;
}

TableSpec reshaped() {
  TableSpec spec{
      "reshaped",
      "the reshaped",
      "CREATE TABLE \"the reshaped\"(x, y TEXT DEFAULT 'y', k INTEGER, l TEXT, z, PRIMARY KEY(l, k)) WITHOUT "
      "ROWID",
      {"l", "k"},
      {{"x", Kind::any, {}},
       {"y", Kind::text, Value::text("y")},
       {"z", Kind::any, {}},
       {"new x", Kind::any, {}},
       {"w", Kind::real, Value::of(-1.5)},
       {"newest x", Kind::any, {}}},
      {{Value::text("p"), Value::of(int64_t{1})},
       {Value::text("p"), Value::of(int64_t{2})},
       {Value::text(""), Value::of(int64_t{-1})}}};
  spec.alters = {{AlterSpec::drop, "ALTER TABLE \"the reshaped\" DROP COLUMN y", 1},
                 {AlterSpec::rename, "ALTER TABLE \"the reshaped\" RENAME COLUMN x TO \"new x\"", 0, 3},
                 {AlterSpec::rename_table, "ALTER TABLE \"the reshaped\" RENAME TO shape", -1, -1, "shape"},
                 {AlterSpec::add, "ALTER TABLE shape ADD COLUMN w REAL DEFAULT -1.5", 4},
                 {AlterSpec::rename_table, "ALTER TABLE shape RENAME TO shapes", -1, -1, "shapes"},
                 {AlterSpec::rename, "ALTER TABLE shapes RENAME COLUMN \"new x\" TO \"newest x\"", 3, 5}};
  return spec;
}

// These get another key, which ends the understanding between replicas that have it and those that do not.
TableSpec owned() {
  TableSpec spec{"owned",
                 "owned",
                 "CREATE TABLE owned(id TEXT PRIMARY KEY, a TEXT, n INTEGER DEFAULT 1)",
                 {"id"},
                 {{"a", Kind::text, {}},
                  {"n", Kind::integer, Value::of(int64_t{1})},
                  {"b", Kind::text, Value::text("none")},
                  {"title", Kind::text, {}}},
                 {{Value::text("o1")}, {Value::text("o2")}, {Value::text("o3")}}};
  spec.alters = {{AlterSpec::add, "ALTER TABLE owned ADD COLUMN b TEXT DEFAULT 'none'", 2},
                 {AlterSpec::rekey,
                  "CREATE TABLE fresh(owner TEXT NOT NULL DEFAULT 'me', id TEXT NOT NULL, a TEXT, n INTEGER DEFAULT 1, "
                  "b TEXT DEFAULT 'none', PRIMARY KEY(owner, id))\n"
                  "INSERT INTO fresh(id, a, n, b) SELECT id, a, n, b FROM owned\n"
                  "DROP TABLE owned\n"
                  "ALTER TABLE fresh RENAME TO owned",
                  -1,
                  -1,
                  {},
                  {"owner", "id"}},
                 {AlterSpec::rename, "ALTER TABLE owned RENAME COLUMN a TO title", 0, 3}};
  return spec;
}

TableSpec turned() {
  TableSpec spec{"turned",
                 "turned",
                 "CREATE TABLE turned(x, k INTEGER, l TEXT, PRIMARY KEY(l, k)) WITHOUT ROWID",
                 {"l", "k"},
                 {{"x", Kind::any, {}}, {"w", Kind::real, Value::of(-1.5)}},
                 {{Value::text("p"), Value::of(int64_t{1})},
                  {Value::text("p"), Value::of(int64_t{2})},
                  {Value::text(""), Value::of(int64_t{-1})}}};
  spec.alters = {{AlterSpec::rekey,
                  "ALTER TABLE turned RENAME TO old\n"
                  "CREATE TABLE turned(k INTEGER NOT NULL, l TEXT NOT NULL, x, PRIMARY KEY(k, l)) WITHOUT ROWID\n"
                  "INSERT INTO turned SELECT k, l, x FROM old\n"
                  "DROP TABLE old",
                  -1,
                  -1,
                  {},
                  {"k", "l"}},
                 {AlterSpec::rename_table, "ALTER TABLE turned RENAME TO \"turned over\"", -1, -1, "turned over"},
                 {AlterSpec::add, "ALTER TABLE \"turned over\" ADD COLUMN w REAL DEFAULT -1.5", 1}};
  return spec;
}

}  // namespace

std::vector<TableSpec> altered_tables() { return {grown(), reshaped(), owned(), turned()}; }

}  // namespace rejoin::sim
