#include "postgres/catalog.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <unordered_map>

#include "postgres/capture.h"

namespace rejoin::postgres {

bool same_name(std::string_view a, std::string_view b) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return lower(x) == lower(y); });
}

namespace {

// Columns of relations, with the type under a domain. Generated columns are nobody's to write.
constexpr const char* kColumns =
    "SELECT a.attrelid::int8, a.attname::text, format_type(a.atttypid, a.atttypmod), t.typtype::text, "
    "  t.typcategory::text, t.typname::text, a.attnotnull OR d.not_null, "
    "  a.atthasdef OR a.attidentity <> '' OR d.has_default, "
    "  coalesce(array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], a.attnum), -1)::int8, "
    "  coalesce(l.collisdeterministic, true), CASE e.typtype WHEN 'b' THEN e.typname::text WHEN 'e' THEN 'enum' ELSE "
    "'' END, a.attnum, "
    // A literal, perhaps with casts.
    "  coalesce(pg_get_expr(x.adbin, x.adrelid) ~ "
    "    '^[(]?(''([^'']|'''')*''|-?[0-9.]+|true|false)[)]?(::[^();]+([(][0-9, ]+[)])?)*$', false) "
    "FROM pg_attribute a CROSS JOIN LATERAL ("
    "  WITH RECURSIVE under(oid, not_null, has_default, depth) AS ("
    "    SELECT a.atttypid, false, false, 0 "
    "    UNION ALL SELECT y.typbasetype, y.typnotnull, y.typdefault IS NOT NULL, depth + 1 FROM under u JOIN pg_type y "
    "      ON y.oid = u.oid AND y.typtype = 'd') "
    "  SELECT bool_or(not_null) AS not_null, bool_or(has_default) AS has_default, "
    "    (array_agg(oid ORDER BY depth DESC))[1] AS oid FROM under) d "
    "JOIN pg_type t ON t.oid = d.oid LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' "
    "LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary "
    "LEFT JOIN pg_collation l ON l.oid = a.attcollation "
    "LEFT JOIN pg_attrdef x ON x.adrelid = a.attrelid AND x.adnum = a.attnum "
    "WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND ";

// Names of types are read where the search path hides nothing: what is kept of them must mean the same whatever path a
// later session has.
constexpr const char* kPlainPath =
    "SELECT set_config('rejoin.search_path', current_setting('search_path'), true), set_config('search_path', "
    "'pg_catalog', true)";
constexpr const char* kOwnPath = "SELECT set_config('search_path', current_setting('rejoin.search_path'), true)";

struct Declared {
  Column column;
  bool typed = true;
  std::string type;
  int64_t key_at = -1;
  bool deterministic = true;
};

Declared declared(const Rows& rows, size_t i) {
  Declared d;
  d.column.name = rows.text(i, 1);
  d.column.quoted = quote(d.column.name);
  d.type = rows.text(i, 2);
  auto type = type_of(rows.text(i, 3), rows.text(i, 4), rows.text(i, 5), d.type, rows.text(i, 10));
  d.typed = type.has_value();
  if (type) d.column.type = *type;
  d.column.number = rows.integer(i, 11);
  d.column.constant = rows.integer(i, 12) != 0;
  d.column.not_null = rows.integer(i, 6) != 0;
  d.column.has_default = rows.integer(i, 7) != 0;
  d.key_at = rows.integer(i, 8);
  d.deterministic = rows.integer(i, 9) != 0;
  return d;
}

// The application's; with whether one comes before a row is written.
constexpr const char* kTriggers =
    "SELECT tgrelid::int8, bool_or(tgtype & 2 = 2 AND tgtype & 1 = 1) FROM pg_trigger WHERE NOT tgisinternal AND "
    "tgenabled <> 'D' AND tgname NOT LIKE 'rejoin\\_capture\\_%'";

// Of a ring of tables the one comes first whose reference may be deferred, if there is such a one.
void order_by_parents(Catalog& catalog) {
  const size_t n = catalog.tables.size();
  std::unordered_map<int64_t, size_t> places;
  for (size_t i = 0; i < n; ++i) places[catalog.tables[i].id] = i;
  std::vector<bool> placed(n, false);
  auto first_unplaced = [&](const std::vector<int64_t>& parents) {
    for (int64_t parent : parents)
      if (auto it = places.find(parent); it != places.end() && !placed[it->second]) return it->second;
    return n;
  };
  std::vector<size_t> path, seen(n, n);  // seen: in whose path
  for (size_t start = 0; start < n;) {
    if (placed[start]) {
      ++start;
      continue;
    }
    // Up to a table that waits for nothing, or round a ring.
    path.clear();
    const size_t walk = catalog.parents_first.size();
    size_t at = start, ring = n;
    for (;;) {
      seen[at] = walk;
      path.push_back(at);
      size_t parent = first_unplaced(catalog.tables[at].parents);
      if (parent == n) parent = first_unplaced(catalog.tables[at].deferred_parents);
      if (parent == n) break;
      if (seen[parent] == walk) {
        ring = parent;
        break;
      }
      at = parent;
    }
    if (ring != n) {
      const auto begin = std::find(path.begin(), path.end(), ring);
      const auto deferred =
          std::find_if(begin, path.end(), [&](size_t i) { return first_unplaced(catalog.tables[i].parents) == n; });
      at = deferred != path.end() ? *deferred : ring;
    }
    placed[at] = true;
    catalog.parents_first.push_back(at);
  }
}

}  // namespace

std::string shape_of(const std::string& oid) {
  return "(SELECT coalesce(string_agg(a.attnum || ':' || a.xmin, ',' ORDER BY a.attnum), '') FROM pg_attribute a WHERE "
         "a.attrelid = " +
         oid +
         " AND a.attnum > 0) || '/' || (SELECT coalesce(string_agg(g.oid || ':' || g.xmin, ',' ORDER BY g.oid), '') "
         "FROM pg_trigger g WHERE g.tgrelid = " +
         oid + ") || '/' || coalesce((SELECT i.indkey::text FROM pg_index i WHERE i.indrelid = " + oid +
         " AND i.indisprimary), '') || '/' || coalesce((SELECT y.relnamespace::regnamespace || '.' || "
         "quote_ident(y.relname) FROM pg_class y WHERE y.oid = " +
         oid + "), '')";
}

std::string quote(std::string_view name) { return contract::quote_name(name); }

std::string quote_text(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'') out += '\'';
    out += c;
  }
  // With a backslash the E form says what is meant, whatever standard_conforming_strings says.
  if (out.find('\\') == std::string::npos) return out + "'";
  std::string escaped = "E'";
  for (char c : out.substr(1)) {
    if (c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped + "'";
}

const Table* Catalog::find(std::string_view name) const {
  for (const Table& t : tables)
    if (same_name(t.name, name)) return &t;
  return nullptr;
}

const Table* Catalog::meant(std::string_view name) const {
  if (const Table* known = find(name)) return known;
  if (std::any_of(taken.begin(), taken.end(), [&](const std::string& t) { return same_name(t, name); })) return nullptr;
  const Table* out = nullptr;
  size_t called_so = 0;
  for (const auto* list : {&tables, &unserved})
    for (const Table& t : *list)
      if (t.own_name && same_name(t.relation, name)) out = &t, ++called_so;
  return called_so == 1 && out->served() ? out : nullptr;  // not in two schemas
}

const Table* Catalog::find_unserved(int64_t id) const {
  for (const Table& t : unserved)
    if (t.id == id) return &t;
  return nullptr;
}

std::string Catalog::but_unserved() const {
  std::string ids;
  for (const Table& t : unserved) ids += (ids.empty() ? "" : ", ") + std::to_string(t.id);
  return ids.empty() ? ids : " AND tbl NOT IN (" + ids + ")";
}

const Table* Catalog::find(int64_t id) const {
  for (const Table& t : tables)
    if (t.id == id) return &t;
  return nullptr;
}

std::string in_shell(const std::string& word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyz0123456789_";
  const auto plain = [&](char c) { return kPlain.find(c) != std::string_view::npos || (c >= 'A' && c <= 'Z'); };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

std::string command_name(const Table& table) {
  // As SQL reads it without quotes: in small letters, no digit first.
  const size_t dot = table.display.find('.');
  const auto word = [&](const std::string& name) {
    return !name.empty() && (name[0] < '0' || name[0] > '9') &&
           name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
  };
  const bool plain =
      dot != std::string::npos && word(table.display.substr(0, dot)) && word(table.display.substr(dot + 1));
  return plain ? table.display : in_shell(table.sql);
}

std::string why_unserved(const Table& table) {
  const std::string name = command_name(table);
  if (table.half)
    return "tracking " + table.display + " was not ended, so nothing of it syncs; run rejoin pg track " + name;
  std::string now;
  for (const Column& c : table.key) now += (now.empty() ? "" : ", ") + c.name;
  return "the PRIMARY KEY of " + table.display + " is now (" + now + "), its records are by (" + table.key_was +
         "), so nothing of it syncs; run rejoin pg untrack " + name + ", then rejoin pg track " + name;
}

Result<Catalog> load_catalog(Connection& db, const std::optional<std::string>& tenant) {
  // An array, which is looked up first: with IN the planner may go through the columns of all tables there are.
  const std::string tracked = "= ANY(ARRAY(SELECT relation::oid FROM rejoin.tracked))";
  const size_t before = db.queued() + 1;
  db.send(kPlainPath);
  db.send("SELECT catalog FROM rejoin.meta");
  db.send("SELECT k.id::int8, k.name, k.tenant_column, n.nspname::text, c.relname::text, c.oid::int8, k.tenant, " +
          shape_of("c.oid") +
          ", p.prosrc FROM rejoin.tracked k JOIN pg_class c ON c.oid = k.relation JOIN pg_namespace n ON n.oid = "
          "c.relnamespace LEFT JOIN pg_proc p ON p.oid = to_regproc('rejoin.capture_' || k.id) ORDER BY k.id");
  db.send("SELECT tbl::int8, id::int8, name FROM rejoin.tracked_column ORDER BY tbl, id");
  db.send(std::string(kColumns) + "a.attrelid " + tracked + " ORDER BY a.attrelid, a.attnum");
  db.send(std::string(kTriggers) + " AND tgrelid " + tracked + " GROUP BY 1");
  db.send("SELECT conrelid::int8, confrelid::int8, condeferrable FROM pg_constraint WHERE contype = 'f' AND conrelid " +
          tracked + " AND confrelid " + tracked + " AND conrelid <> confrelid");
  // What an expression is made of is known as what the index depends on, and so is what its condition is.
  db.send(
      "SELECT DISTINCT i.indrelid::int8, a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = "
      "i.indrelid AND (a.attnum = ANY(i.indkey) OR i.indexprs IS NOT NULL AND EXISTS (SELECT FROM pg_depend p WHERE "
      "p.classid = 'pg_class'::regclass AND p.objid = i.indexrelid AND p.refclassid = 'pg_class'::regclass AND "
      "p.refobjid = i.indrelid AND p.refobjsubid = a.attnum)) WHERE i.indisunique AND NOT i.indisprimary AND "
      "i.indrelid " +
      tracked);
  db.send("SELECT k.name, c.oid IS NULL FROM rejoin.tracked k LEFT JOIN pg_class c ON c.oid = k.relation");
  db.send(kOwnPath);
  REJOIN_ASSIGN(std::vector<Rows> all, db.sync());
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(before));
  Catalog catalog;
  catalog.version = all[0].empty() ? 0 : all[0].integer(0, 0);
  std::map<int64_t, size_t> by_oid;
  std::map<int64_t, std::string> functions;  // the text of each table's function
  const Rows& tables = all[1];
  for (size_t i = 0; i < tables.size(); ++i) {
    Table t;
    t.id = tables.integer(i, 0);
    t.oid = tables.integer(i, 5);
    t.shape = tables.text(i, 7);
    t.name = tables.text(i, 1);
    if (!tables.is_null(i, 2)) {
      t.tenant.emplace();
      t.tenant->name = tables.text(i, 2);
    } else {
      t.owner = tables.text(i, 6);
      if (tenant && t.owner != *tenant) continue;
    }
    t.sql = quote(tables.text(i, 3)) + "." + quote(tables.text(i, 4));
    t.display = tables.text(i, 3) + "." + tables.text(i, 4);
    t.relation = tables.text(i, 4);
    if (!tables.is_null(i, 8)) functions[t.id] = tables.text(i, 8);
    by_oid[tables.integer(i, 5)] = catalog.tables.size();
    catalog.tables.push_back(std::move(t));
  }
  const Rows& ids = all[2];
  for (size_t i = 0; i < ids.size(); ++i) {
    Table* t = const_cast<Table*>(catalog.find(ids.integer(i, 0)));
    if (!t) continue;
    Column c;
    c.name = ids.text(i, 2);
    c.present = false;
    t->columns.resize(std::max(t->columns.size(), static_cast<size_t>(ids.integer(i, 1)) + 1));
    t->columns[static_cast<size_t>(ids.integer(i, 1))] = std::move(c);
  }
  const Rows& columns = all[3];
  std::map<size_t, std::vector<std::pair<int64_t, Column>>> keys;
  for (size_t i = 0; i < columns.size(); ++i) {
    const auto found = by_oid.find(columns.integer(i, 0));
    if (found == by_oid.end()) continue;
    const size_t at = found->second;
    Table& t = catalog.tables[at];
    Declared d = declared(columns, i);
    if (t.tenant && t.tenant->name == d.column.name) {
      t.tenant_in_key = d.key_at >= 0;
      t.tenant = d.column;
      continue;
    }
    if (d.key_at >= 0) {
      keys[at].emplace_back(d.key_at, d.column);
      continue;
    }
    auto known =
        std::find_if(t.columns.begin(), t.columns.end(), [&](const Column& c) { return c.name == d.column.name; });
    if (known == t.columns.end() || !d.typed)
      t.unannounced.push_back(d.column.name);
    else
      *known = d.column;
  }
  for (auto& [at, key] : keys) {
    std::sort(key.begin(), key.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [order, column] : key) catalog.tables[at].key.push_back(std::move(column));
  }
  for (Table& t : catalog.tables) {
    const auto capture = functions.find(t.id);
    if (capture == functions.end()) {
      t.half = t.columns.empty();
      continue;
    }
    t.key_was = other_key(t, capture->second);
    t.own_name = has_own_name(t, capture->second);
    t.truncates_unseen = !follows_truncate(t, capture->second);
    for (const Column& c : t.columns)
      if (c.present && !captures(c, capture->second)) t.uncaptured.push_back(c.name);
  }
  if (tenant) {
    const auto aside =
        std::stable_partition(catalog.tables.begin(), catalog.tables.end(), [](const Table& t) { return t.served(); });
    std::move(aside, catalog.tables.end(), std::back_inserter(catalog.unserved));
    catalog.tables.erase(aside, catalog.tables.end());
    by_oid.clear();
    for (size_t i = 0; i < catalog.tables.size(); ++i) by_oid[catalog.tables[i].oid] = i;
  }
  auto by_relation = [&](int64_t oid) {
    auto it = by_oid.find(oid);
    return it == by_oid.end() ? nullptr : &catalog.tables[it->second];
  };
  for (size_t i = 0; i < all[4].size(); ++i)
    if (Table* t = by_relation(all[4].integer(i, 0)))
      t->triggers = true, t->before_triggers = all[4].integer(i, 1) != 0;
  for (size_t i = 0; i < all[5].size(); ++i) {
    Table *child = by_relation(all[5].integer(i, 0)), *parent = by_relation(all[5].integer(i, 1));
    if (child && parent) (all[5].integer(i, 2) != 0 ? child->deferred_parents : child->parents).push_back(parent->id);
  }
  for (size_t i = 0; i < all[6].size(); ++i)
    if (Table* t = by_relation(all[6].integer(i, 0)))
      for (uint32_t c = 0; c < t->columns.size(); ++c)
        if (t->columns[c].present && t->columns[c].name == all[6].text(i, 1)) t->unique.add(c);
  for (size_t i = 0; i < all[7].size(); ++i)
    if (const std::string name = all[7].text(i, 0); !catalog.find(name)) {
      catalog.taken.push_back(name);
      if (all[7].integer(i, 1) != 0) catalog.dropped.push_back(name);
    }
  order_by_parents(catalog);
  return catalog;
}

Result<Table> describe_table(Connection& db, const std::string& relation, const std::string& tenant_column) {
  // Since PostgreSQL 16 to_regclass says nothing of what is no name at all.
  db.send("SELECT to_regclass($1)::oid::int8, CASE WHEN to_regclass($1) IS NULL THEN parse_ident($1) END",
          Params().text(relation));
  REJOIN_ASSIGN(std::vector<Rows> found, db.sync());
  if (found[0].empty() || found[0].is_null(0, 0))
    return fail(Code::not_found,
                "there is no table " + relation +
                    " in this PostgreSQL database; write SCHEMA.TABLE, with double quotes around names "
                    "that need them");
  const int64_t oid = found[0].integer(0, 0);
  db.send(
      "SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, c.relispartition, "
      "coalesce(i.indnkeyatts, 0)::int8, coalesce(i.indimmediate, true), EXISTS (SELECT FROM pg_inherits h WHERE "
      "h.inhrelid = c.oid OR h.inhparent = c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT "
      "JOIN "
      "pg_index i ON i.indrelid = c.oid AND i.indisprimary WHERE c.oid = $1::oid",
      Params().integer(oid));
  db.send(kPlainPath);
  db.send(std::string(kColumns) + "a.attrelid = $1::oid ORDER BY a.attnum", Params().integer(oid));
  db.send(std::string(kTriggers) + " AND tgrelid = $1::oid GROUP BY 1", Params().integer(oid));
  db.send(kOwnPath);
  REJOIN_ASSIGN(std::vector<Rows> all, db.sync());
  all.erase(all.begin() + 1);
  if (all[0].empty()) return fail(Code::not_found, "table " + relation + " was dropped meanwhile");
  Table t;
  t.sql = quote(all[0].text(0, 0)) + "." + quote(all[0].text(0, 1));
  t.display = all[0].text(0, 0) + "." + all[0].text(0, 1);
  t.oid = oid;
  t.name = t.relation = all[0].text(0, 1);
  auto refuse = [&](const std::string& why) {
    return fail(Code::untrackable, "cannot track " + t.display + ": " + why);
  };
  const std::string kind = all[0].text(0, 2);
  if (all[0].text(0, 0) == "rejoin") return refuse("it belongs to Rejoin itself");
  if (kind == "v" || kind == "m") return refuse("it is a view; track the tables that it reads");
  if (kind == "f") return refuse("it is a foreign table, whose writes elsewhere no trigger sees");
  if (kind == "p" || all[0].integer(0, 4))
    return refuse(
        "it is partitioned, and no trigger sees that a partition is truncated, attached, detached or dropped, so "
        "devices "
        "would keep its rows or miss them; keep what devices need in a table of its own");
  if (kind != "r") return refuse("it is no table");
  if (all[0].text(0, 3) != "p") return refuse("it is temporary or unlogged, so a crash would lose acknowledged writes");
  if (all[0].integer(0, 7))
    return refuse("it inherits from another table or is inherited from, so rows of one table show in the other");
  if (!all[0].integer(0, 6))
    return refuse("its PRIMARY KEY is DEFERRABLE, and ON CONFLICT cannot use such a key; make it NOT DEFERRABLE");
  std::vector<std::pair<int64_t, Column>> key;
  bool tenant_found = false;
  for (size_t i = 0; i < all[1].size(); ++i) {
    Declared d = declared(all[1], i);
    if (!d.typed)
      return refuse("its column " + d.column.name + " has the type " + d.type +
                    ", which has no counterpart on devices; keep it in a table of its own");
    if (!tenant_column.empty() && d.column.name == tenant_column) {
      if (d.column.type.kind != TypeClass::text && d.column.type.kind != TypeClass::uuid &&
          d.column.type.kind != TypeClass::integer)
        return refuse("its tenant column " + tenant_column + " has the type " + d.type +
                      "; text, uuid and integers can name a tenant");
      t.tenant = d.column;
      t.tenant_in_key = d.key_at >= 0;
      tenant_found = true;
      continue;
    }
    if (d.key_at < 0) {
      t.columns.push_back(d.column);
      continue;
    }
    if (!fits_key(d.column.type))
      return refuse("its key column " + d.column.name + " has the type " + d.type +
                    ", whose values have several spellings; text, varchar, integers, uuid, dates, timestamps and bytea "
                    "can be keys");
    if (!d.deterministic)
      return refuse("its key column " + d.column.name +
                    " has a nondeterministic collation, by which different keys are equal");
    key.emplace_back(d.key_at, d.column);
  }
  if (!tenant_column.empty() && !tenant_found) return refuse("it has no column " + tenant_column + " for the tenant");
  std::sort(key.begin(), key.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [order, column] : key) t.key.push_back(std::move(column));
  if (t.key.empty())
    return refuse("it has no PRIMARY KEY (besides the tenant column), so rows cannot be told apart on devices");
  if (static_cast<int64_t>(t.key.size()) + t.tenant_in_key != all[0].integer(0, 5))
    return refuse("a column of its PRIMARY KEY is a generated one, which devices cannot write");
  t.triggers = !all[2].empty();
  t.before_triggers = t.triggers && all[2].integer(0, 1) != 0;
  return t;
}

contract::Contract to_contract(const Catalog& catalog) {
  contract::Contract out;
  for (const Table& t : catalog.tables) {
    contract::Table table;
    table.name = t.name;
    auto add = [&](const Column& c, bool key) {
      contract::Column column;
      column.name = c.name;
      column.type = contract_type(c.type);
      column.not_null = key;
      table.columns.push_back(std::move(column));
    };
    for (const Column& c : t.key) {
      add(c, true);
      table.key.push_back(c.name);
    }
    for (const Column& c : t.columns)
      if (c.present) add(c, false);
    out.tables.push_back(std::move(table));
  }
  std::sort(out.tables.begin(), out.tables.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

}  // namespace rejoin::postgres
