// Tables with every constraint that decides which rows show: UNIQUE over one column, several, some rows, and without
// regard to case; foreign keys that cascade, set null, restrict and refer to their own table; a CHECK over two columns.
//
// Each is WITHOUT ROWID, so that cascades run in the order of keys, and no row can lose a reference and be deleted by
// one statement: SQLite leaves open which of both comes first, and with that, whether the deleted row's reference has
// been written.
#include "sim/tables.h"

namespace rejoin::sim {
namespace {

Value text(const char* v) { return Value::text(v); }
Value number(int64_t v) { return Value::of(v); }

std::vector<Value> keys_of(const char* letter, bool or_null) {
  std::vector<Value> out;
  for (int i = 0; i < 4; ++i) out.push_back(Value::text(letter + std::to_string(i)));
  if (or_null) out.push_back(Value::null());
  return out;
}

std::vector<Key> keys(const char* letter) {
  std::vector<Key> out;
  for (Value& v : keys_of(letter, false)) out.push_back({std::move(v)});
  return out;
}

TableSpec lists() {
  TableSpec spec{"lists",
                 "lists",
                 "CREATE TABLE lists(id TEXT PRIMARY KEY NOT NULL, name TEXT COLLATE NOCASE UNIQUE, region TEXT, "
                 "code INTEGER, UNIQUE(region, code)) WITHOUT ROWID",
                 {"id"},
                 {{"name", Kind::text, {}, {text("a"), text("A"), text("b"), text("B"), Value::null()}},
                  {"region", Kind::text, {}, {text("n"), text("s"), text("s"), Value::null()}},
                  {"code", Kind::integer, {}, {number(0), number(1)}}},
                 keys("l")};
  spec.unique = {{{0}, true}, {{1, 2}}};
  spec.late = {{{1}, false, -1, "late_region"}, {{2}, false, -1, "late_code"}};
  spec.constrained = true;
  return spec;
}

TableSpec entries() {
  TableSpec spec{"entries",
                 "entries",
                 "CREATE TABLE entries(id TEXT PRIMARY KEY NOT NULL, list TEXT REFERENCES lists ON DELETE CASCADE, "
                 "slot INTEGER, done INTEGER DEFAULT 0, low INTEGER DEFAULT 0, high INTEGER DEFAULT 9, "
                 "CHECK (low <= high)) WITHOUT ROWID; "
                 "CREATE UNIQUE INDEX entries_slot ON entries(slot) WHERE done = 0",
                 {"id"},
                 {{"list", Kind::text, {}, keys_of("l", true), true},
                  {"slot", Kind::integer, {}, {number(1), number(2), Value::null()}},
                  {"done", Kind::integer, number(0), {number(0), number(1)}},
                  {"low", Kind::integer, number(0), {number(0), number(4), number(7)}},
                  {"high", Kind::integer, number(9), {number(9), number(5), number(3), Value::null()}}},
                 keys("e")};
  spec.unique = {{{1}, false, 2}};
  spec.late = {{{0, 3}, false, -1, "late_low"}, {{0}, false, 2, "late_open"}};
  spec.references = {{0, "lists", OnDelete::cascade}};
  spec.low = 3, spec.high = 4;
  spec.constrained = true;
  return spec;
}

TableSpec notes() {
  TableSpec spec{"notes",
                 "notes",
                 "CREATE TABLE notes(id TEXT PRIMARY KEY NOT NULL, entry TEXT REFERENCES entries ON DELETE SET NULL, "
                 "up TEXT REFERENCES notes ON DELETE CASCADE, list TEXT REFERENCES lists ON DELETE RESTRICT, body) "
                 "WITHOUT ROWID",
                 {"id"},
                 {{"entry", Kind::text, {}, keys_of("e", true), true},
                  {"up", Kind::text, {}, keys_of("n", true), true},
                  {"list", Kind::text, {}, {text("l0"), text("l1"), Value::null(), Value::null()}},
                  {"body", Kind::any, {}}},
                 keys("n")};
  spec.late = {{{0}, false, -1, "late_entry"}, {{1, 2}, false, -1, "late_up"}};
  spec.references = {
      {0, "entries", OnDelete::set_null}, {1, "notes", OnDelete::cascade}, {2, "lists", OnDelete::restrict}};
  spec.constrained = true;
  return spec;
}

}  // namespace

std::vector<TableSpec> constrained_tables() { return {lists(), entries(), notes()}; }

}  // namespace rejoin::sim
