#include "sqlite/catalog.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "sqlite/declaration.h"
#include "sqlite/key_before.h"
#include "sqlite/sql.h"

namespace rejoin::sqlite {
bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && sqlite3_strnicmp(a.data(), b.data(), static_cast<int>(a.size())) == 0;
}

namespace {

std::string upper(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

// A name as a DEFAULT is taken for text, quoted or not.
bool is_name(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') return true;
  const auto word = [](char c) { return c == '_' || c & 0x80 || std::isalnum(static_cast<unsigned char>(c)); };
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text.front()))) return false;
  if (!std::all_of(text.begin(), text.end(), word)) return false;
  const std::string u = upper(text);
  return u != "NULL" && u != "TRUE" && u != "FALSE" && !u.starts_with("CURRENT_");
}

std::string name_text(std::string_view name) {
  if (name.front() != '"') return std::string(name);
  std::string out;
  for (size_t i = 1; i + 1 < name.size(); ++i) {
    out += name[i];
    if (name[i] == '"') ++i;
  }
  return out;
}

bool is_number(std::string_view text) {
  return text.find_first_of("0123456789") < 2 && text.find_first_of("'\"") == std::string_view::npos;
}

// Is this DEFAULT text a literal (so that every replica reads the same from it)?
bool is_literal(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '(')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == ')')) text.remove_suffix(1);
  if (text.empty()) return false;
  std::string u = upper(text);
  if (u == "NULL" || u == "TRUE" || u == "FALSE") return true;
  if (text.front() == '\'' || ((text.front() == 'x' || text.front() == 'X') && text.size() > 1 && text[1] == '\'')) {
    // One quoted string and nothing behind it.
    size_t i = text.find('\'') + 1;
    for (; i < text.size(); ++i) {
      if (text[i] != '\'') continue;
      if (i + 1 < text.size() && text[i + 1] == '\'')
        ++i;
      else
        return i + 1 == text.size();
    }
    return false;
  }
  return text.find_first_not_of("+-0123456789.eExXabcdfABCDF ") == std::string_view::npos &&
         text.find_first_of("0123456789") != std::string_view::npos &&
         (std::isdigit(static_cast<unsigned char>(text.front())) || text.front() == '+' || text.front() == '-' ||
          text.front() == '.');
}

// The literal after the column's affinity, as an insert would store it.
Result<OwnedValue> literal_value(sqlite3* db, const std::string& text, const std::string& type) {
  Affinity affinity = affinity_of(type);
  std::string sql = "SELECT " + text;
  // CAST forces where affinity only persuades, so only numbers that are numbers already are cast.
  if (affinity == Affinity::text)
    sql =
        "SELECT CASE typeof(v) WHEN 'integer' THEN CAST(v AS TEXT) WHEN 'real' THEN CAST(v AS TEXT) ELSE v END FROM "
        "(SELECT " +
        text + " AS v)";
  if (affinity == Affinity::integer || affinity == Affinity::numeric)
    sql =
        "SELECT CASE WHEN typeof(v) = 'text' AND typeof(v + 0) <> 'text' AND CAST(v + 0 AS TEXT) = v THEN v + 0 ELSE v "
        "END "
        "FROM (SELECT " +
        text + " AS v)";
  if (affinity == Affinity::real)
    sql = "SELECT CASE typeof(v) WHEN 'integer' THEN CAST(v AS REAL) ELSE v END FROM (SELECT " + text + " AS v)";
  REJOIN_ASSIGN(Statement s, prepare(db, sql));
  REJOIN_ASSIGN(bool row, s.step());
  if (!row) return OwnedValue();
  return OwnedValue::of(s.value(0));
}

std::string join_names(const std::vector<Column>& columns) {
  std::string out;
  for (const Column& c : columns) {
    if (!c.present) continue;
    if (!out.empty()) out += ", ";
    out += quote(c.name);
  }
  return out;
}

}  // namespace

std::string records_table(std::string_view table) { return std::string(table) + "__rejoin"; }
std::string shadow_table(std::string_view table) { return std::string(table) + "__rejoin_dead"; }
std::string gone_table(std::string_view table) { return std::string(table) + "__rejoin_gone"; }
std::string copy_table(std::string_view table) { return std::string(table) + "__rejoin_alter"; }

std::string Table::quoted() const { return "main." + quote(name); }
std::string Table::key_list() const { return join_names(key); }
std::string Table::column_list() const { return join_names(columns); }
std::string Table::rowid_name() const {
  for (const char* alias : {"_rowid_", "rowid", "oid"}) {
    auto taken = [&](const Column& c) { return same_name(c.name, alias); };
    if (std::none_of(key.begin(), key.end(), taken) && std::none_of(columns.begin(), columns.end(), taken))
      return alias;
  }
  return "";
}
std::string Table::key_match(int first) const {
  std::string out;
  for (const Column& c : key) {
    if (!out.empty()) out += " AND ";
    out += quote(c.name) + "=?" + std::to_string(first++);
  }
  return out;
}

Table* Catalog::find(std::string_view name) const {
  for (const auto& t : tables)
    if (same_name(t->name, name)) return t.get();
  return nullptr;
}

Table* Catalog::find(uint64_t id) const {
  for (const auto& t : tables)
    if (t->id == id) return t.get();
  return nullptr;
}

Table* Catalog::find_named(std::string_view name) const {
  if (Table* t = find(name)) return t;
  for (const auto& t : tables)
    for (const std::string& former : t->former_names)
      if (same_name(former, name)) return t.get();
  return nullptr;
}

bool names_key(const Table& table, const std::vector<std::string>& names) {
  if (names.size() != table.key.size()) return false;
  for (size_t i = 0; i < names.size(); ++i) {
    bool same = same_name(names[i], table.key[i].name);
    for (const FormerName& f : table.former)
      same |= f.column == -1 - static_cast<int64_t>(i) && same_name(names[i], f.name);
    if (!same) return false;
  }
  return true;
}

// The rules of https://sqlite.org/datatype3.html section 3.1.
Affinity affinity_of(std::string_view declared_type) {
  std::string t = upper(declared_type);
  auto has = [&](const char* s) { return t.find(s) != std::string::npos; };
  if (has("INT")) return Affinity::integer;
  if (has("CHAR") || has("CLOB") || has("TEXT")) return Affinity::text;
  if (t.empty() || has("BLOB")) return Affinity::blob;
  if (has("REAL") || has("FLOA") || has("DOUB")) return Affinity::real;
  return Affinity::numeric;
}

Result<Table> describe_table(sqlite3* db, const std::string& name) {
  Table table;
  {
    REJOIN_ASSIGN(Statement s,
                  prepare(db, "SELECT name, type, wr, strict FROM pragma_table_list(?1) WHERE schema='main'"));
    s.bind_text(1, name);
    REJOIN_ASSIGN(bool row, s.step());
    if (!row) return fail(Code::not_found, "no such table: " + name);
    table.name = s.text(0);
    if (s.text(1) != "table")
      return fail(Code::untrackable, std::string(s.text(1)) == "view"
                                         ? "\"" + name + "\" is a view; track the tables that it reads"
                                         : "\"" + name +
                                               "\" is a virtual table, whose rows SQLite triggers cannot see; track "
                                               "the ordinary table that feeds it");
    table.without_rowid = s.integer(2) != 0;
    table.strict = s.integer(3) != 0;
  }
  table.records_name = "main." + quote(records_table(table.name));
  table.shadow_name = "main." + quote(shadow_table(table.name));
  table.gone_name = "main." + quote(gone_table(table.name));
  REJOIN_ASSIGN(
      Statement s,
      prepare(
          db,
          "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid"));
  s.bind_text(1, table.name);
  std::vector<std::pair<int64_t, Column>> key;
  for (;;) {
    REJOIN_ASSIGN(bool row, s.step());
    if (!row) break;
    if (s.integer(5) != 0) {  // generated (2, 3) or hidden (1): not ours to carry
      table.generated.emplace_back(s.text(0));
      continue;
    }
    Column c;
    c.name = s.text(0);
    c.type = s.text(1);
    c.affinity = table.strict && upper(c.type) == "ANY" ? Affinity::blob : affinity_of(c.type);
    c.not_null = s.integer(2) != 0;
    if (!s.is_null(3)) {
      std::string text(s.text(3));
      c.default_text = text;
      if (is_name(text)) text = quote_text(name_text(text));
      c.literal_default = is_literal(text);
      if (c.literal_default) {
        auto v = literal_value(db, text, c.type);
        if (!v.ok() && v.error().code != Code::internal && v.error().code != Code::too_large) return v.error();
        // SQLite gives rows that are there `1e2` as it is written, and new ones 100.0.
        c.literal_default = v.ok() && (c.affinity != Affinity::text || !is_number(text) || v->ref().bytes == text);
        if (c.literal_default) c.default_value = std::move(*v);
      }
    }
    if (s.integer(4) > 0)
      key.emplace_back(s.integer(4), std::move(c));
    else
      table.columns.push_back(std::move(c));
  }
  std::sort(key.begin(), key.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [order, c] : key) table.key.push_back(std::move(c));

  REJOIN_ASSIGN(
      Statement indexes,
      prepare(db,
              "SELECT l.name, l.origin, l.partial, s.sql, l.\"unique\" FROM pragma_index_list(?1, 'main') AS l "
              "LEFT JOIN main.sqlite_schema AS s ON s.type='index' AND s.name=l.name ORDER BY l.name"));
  indexes.bind_text(1, table.name);
  bool key_index = false;
  std::set<std::string> read;  // by indexes, in lower case
  for (;;) {
    REJOIN_ASSIGN(bool row, indexes.step());
    if (!row) break;
    if (indexes.text(1) == "pk") {
      key_index = true;
      continue;
    }
    const std::vector<std::string> expressions = index_parts(indexes.text(3));
    const std::string condition = indexes.integer(2) ? index_condition(indexes.text(3)) : "";
    const auto add = [&](const std::string& sql) {
      table.computed += (table.computed.empty() ? "(" : ", (") + sql + ")";
    };
    read.merge(names_in(condition));
    for (const std::string& part : expressions) read.merge(names_in(part));
    if (may_fail(condition)) add(condition);
    for (const std::string& part : expressions)
      if (may_fail(part)) add(condition.empty() ? part : "CASE WHEN " + condition + " THEN " + part + " END");
    if (!indexes.integer(4)) continue;
    REJOIN_ASSIGN(Statement parts,
                  prepare(db, "SELECT coalesce(name, ''), coll FROM pragma_index_xinfo(?1, 'main') WHERE key"));
    parts.bind_text(1, indexes.text(0));
    Table::UniqueIndex index;
    for (;;) {
      REJOIN_ASSIGN(bool more, parts.step());
      if (!more) break;
      index.parts.push_back({std::string(parts.text(0)), "", std::string(parts.text(1))});
    }
    for (size_t i = 0; i < index.parts.size() && i < expressions.size(); ++i)
      if (index.parts[i].column.empty()) index.parts[i].expression = expressions[i];
    index.where = condition;
    for (const auto& part : index.parts) read.insert(lower_name(part.column));
    table.unique.push_back(std::move(index));
  }
  for (const std::string& column : table.generated)
    if (read.contains(lower_name(column))) table.computed += (table.computed.empty() ? "" : ", ") + quote(column);
  table.integer_key = !table.key.empty() && !key_index && !table.without_rowid;

  return table;
}

namespace {

// Of the application's triggers, in lower case: the tables that they are on, all names that they mention, and the
// tables of whose triggers one names ROLLBACK, or a table with such a trigger, to which it may write; those of whose
// deletion triggers one names ROLLBACK. `leaving`: one may end in FAIL or RAISE(IGNORE), with which SQLite keeps what
// was written before; others may lead to it.
struct AppTriggers {
  std::set<std::string> on, names, rolling_back, deletions_rolling_back;
  bool leaving = false;
};

struct AppTrigger {
  std::string on;
  std::set<std::string> names;
  bool of_deletions;
};

void find_rolling_back(const std::vector<AppTrigger>& triggers, AppTriggers& out) {
  for (const AppTrigger& t : triggers)
    if (t.names.contains("rollback")) {
      out.rolling_back.insert(t.on);
      if (t.of_deletions) out.deletions_rolling_back.insert(t.on);
    }
  for (size_t known = 0; std::exchange(known, out.rolling_back.size()) != out.rolling_back.size();)
    for (const AppTrigger& t : triggers)
      if (std::any_of(out.rolling_back.begin(), out.rolling_back.end(),
                      [&](const std::string& table) { return t.names.contains(table); }))
        out.rolling_back.insert(t.on);
}

Result<AppTriggers> read_app_triggers(sqlite3* db) {
  AppTriggers out;
  std::vector<AppTrigger> all;
  for (const char* schema : {"main.sqlite_schema", "sqlite_temp_schema"}) {
    REJOIN_ASSIGN(Statement s, prepare(db, std::string("SELECT tbl_name, sql FROM ") + schema +
                                               " WHERE type='trigger' AND name NOT GLOB 'rejoin_capture_*'"));
    for (;;) {
      REJOIN_ASSIGN(bool row, s.step());
      if (!row) break;
      out.on.insert(lower_name(s.text(0)));
      std::set<std::string> names = all_names(s.text(1));
      out.leaving |= names.contains("fail") || (names.contains("raise") && names.contains("ignore"));
      out.names.insert(names.begin(), names.end());
      all.push_back({lower_name(s.text(0)), std::move(names), fires_on_delete(s.text(1))});
    }
  }
  find_rolling_back(all, out);
  return out;
}

bool no_ordinary_table(const Error& error) { return error.code == Code::not_found || error.code == Code::untrackable; }

}  // namespace

Result<bool> is_table(sqlite3* db, const std::string& name) {
  const auto described = describe_table(db, name);
  if (described.ok()) return true;
  return no_ordinary_table(described.error()) ? Result<bool>(false) : described.error();
}

Result<Catalog> load_catalog(sqlite3* db) {
  Catalog catalog;
  REJOIN_ASSIGN(const AppTriggers triggers, read_app_triggers(db));
  REJOIN_ASSIGN(Statement s,
                prepare(db, "SELECT id, name, allow_integer_key, keep_deleted FROM main.rejoin_table ORDER BY id"));
  REJOIN_ASSIGN(Statement ids, prepare(db, "SELECT name FROM main.rejoin_column WHERE tbl=?1 ORDER BY id"));
  REJOIN_ASSIGN(Statement former,
                prepare(db, "SELECT col, name FROM main.rejoin_former WHERE tbl=?1 AND (col IS NULL OR col>" +
                                std::to_string(kKeyBefore) + ") ORDER BY rowid"));
  for (;;) {
    REJOIN_ASSIGN(bool row, s.step());
    if (!row) break;
    auto described = describe_table(db, std::string(s.text(1)));
    if (!described.ok()) {
      if (!no_ordinary_table(described.error())) return std::move(described).error();
      continue;
    }
    auto table = std::make_unique<Table>(std::move(*described));
    table->id = static_cast<uint64_t>(s.integer(0));
    table->allow_integer_key = s.integer(2) != 0;
    table->keep_deleted = s.integer(3) != 0;
    table->app_triggers = triggers.on.contains(lower_name(table->name));
    table->triggers_roll_back = triggers.rolling_back.contains(lower_name(table->name));
    table->deletions_roll_back = triggers.deletions_rolling_back.contains(lower_name(table->name));
    table->triggers_leave = table->app_triggers && triggers.leaving;
    table->in_triggers = triggers.names.contains(lower_name(table->name));
    std::vector<Column> declared = std::move(table->columns);
    table->columns.clear();
    std::vector<bool> used(declared.size());
    Use use(ids);
    ids.bind(1, s.integer(0));
    for (;;) {
      REJOIN_ASSIGN(bool more, ids.step());
      if (!more) break;
      Column column;
      column.name = ids.text(0);
      column.present = false;
      for (size_t i = 0; i < declared.size(); ++i)
        if (!used[i] && same_name(declared[i].name, column.name)) {
          used[i] = true;
          column = declared[i];
        }
      table->columns.push_back(std::move(column));
    }
    for (size_t i = 0; i < declared.size(); ++i)
      if (!used[i]) table->unannounced.push_back(declared[i].name);
    Use use_former(former);
    former.bind(1, s.integer(0));
    for (;;) {
      REJOIN_ASSIGN(bool more, former.step());
      if (!more) break;
      if (former.is_null(0))
        table->former_names.emplace_back(former.text(1));
      else
        table->former.push_back({former.integer(0), std::string(former.text(1))});
    }
    catalog.tables.push_back(std::move(table));
  }
  REJOIN_TRY(read_constraints(db, catalog));
  return catalog;
}

contract::Table to_contract(const Table& table) {
  contract::Table out;
  out.name = table.name;
  out.without_rowid = table.without_rowid;
  out.strict = table.strict;
  out.integer_key = table.integer_key;
  auto add = [&](const Column& c) {
    contract::Column column;
    column.name = c.name;
    column.type = contract::canonical_type(c.type);
    column.not_null = c.not_null;
    if (c.literal_default) {
      crdt::ValueRef v = c.default_value.ref();
      switch (v.type) {
        case crdt::ValueType::null:
          column.default_value = std::monostate();
          break;
        case crdt::ValueType::integer:
          column.default_value = v.integer;
          break;
        case crdt::ValueType::real:
          column.default_value = v.real;
          break;
        case crdt::ValueType::text:
          column.default_value = std::string(v.bytes);
          break;
        case crdt::ValueType::blob:
          column.default_value = contract::Blob{std::string(v.bytes)};
          break;
      }
    }
    out.columns.push_back(std::move(column));
  };
  for (const Column& c : table.key) out.key.push_back(c.name), add(c);
  for (const Column& c : table.columns)
    if (c.present) add(c);
  return out;
}

}  // namespace rejoin::sqlite
