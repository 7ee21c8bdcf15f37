#include "sqlite/constraints.h"

#include <algorithm>
#include <map>
#include <set>

#include "sqlite/catalog.h"
#include "sqlite/declaration.h"
#include "sqlite/sql.h"

namespace rejoin::sqlite {
namespace {

constexpr int kNoSuchColumn = 1 << 20;

// A column's id, -1 - position in the key, or kNoSuchColumn (a generated column).
int column_at(const Table& t, std::string_view name) {
  auto is = [&](const Column& c) { return lower_name(c.name) == lower_name(name); };
  for (size_t i = 0; i < t.key.size(); ++i)
    if (is(t.key[i])) return -1 - static_cast<int>(i);
  for (size_t c = 0; c < t.columns.size(); ++c)
    if (t.columns[c].present && is(t.columns[c])) return static_cast<int>(c);
  return kNoSuchColumn;
}

const Column& column(const Table& t, int at) {
  return at >= 0 ? t.columns[static_cast<size_t>(at)] : t.key[static_cast<size_t>(-1 - at)];
}

// Does a search of the child's column for the parent's value find all that refer to it? SQLite converts what the child
// holds to the parent's affinity; a search converts the other way.
bool found_from_parent(Affinity child, Affinity parent) {
  if (child == Affinity::blob) return parent == Affinity::blob;
  return child != Affinity::text || parent == Affinity::text || parent == Affinity::blob;
}

std::string list(const std::vector<std::string>& parts, const char* between) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : between) + part;
  return out;
}

class TableConstraints {
 public:
  TableConstraints(sqlite3* db, Catalog& catalog, Table& table) : db_(db), catalog_(catalog), t_(table) {}

  Status read() {
    std::string create;
    {
      REJOIN_ASSIGN(Statement s, prepare(db_, "SELECT sql FROM main.sqlite_schema WHERE type='table' AND name=?1"));
      s.bind_text(1, t_.name);
      REJOIN_ASSIGN(bool row, s.step());
      if (row) create = s.text(0);
    }
    generated_ = generated_expressions(create);
    t_.constraints = {};
    t_.constraints.generated_from = generated_;
    for (const std::string& check : check_expressions(create)) {
      bool key = false;
      t_.constraints.groups.join(columns_of(names_in(check), key));
    }
    for (const Table::UniqueIndex& index : t_.unique) add_unique(index);
    return read_foreign_keys();
  }

 private:
  // The stored columns that names stand for, through generated ones.
  crdt::ColumnSet columns_of(const std::set<std::string>& names, bool& key, int depth = 0) const {
    crdt::ColumnSet out;
    for (const std::string& name : names) {
      const int at = column_at(t_, name);
      if (at >= 0 && at != kNoSuchColumn) out.add(static_cast<uint32_t>(at));
      key |= at < 0;
      auto expression = generated_.find(name);
      if (at == kNoSuchColumn && expression != generated_.end() && depth < 32)
        out |= columns_of(names_in(expression->second), key, depth + 1);
    }
    return out;
  }

  void add_unique(const Table::UniqueIndex& index) {
    UniqueRule rule;
    std::set<std::string> names = names_in(index.where);
    std::vector<std::string> parts, equal, shown;
    for (const auto& part : index.parts) {
      const std::string sql = part.column.empty() ? "(" + part.expression + ")" : quote(part.column);
      if (part.column.empty())
        names.merge(names_in(part.expression));
      else
        names.insert(lower_name(part.column));
      parts.push_back(sql);
      shown.push_back(part.column.empty() ? part.expression : part.column);
      rule.collations.push_back(crdt::collation_of(part.collation));
      // The index's collation, not the column's.
      equal.push_back(sql + " COLLATE " + quote(part.collation) + " = ?" + std::to_string(parts.size()));
    }
    rule.columns = columns_of(names, rule.key);
    rule.what = list(shown, ", ");
    const std::string condition = index.where.empty() ? "1" : "(" + index.where + ")";
    // An expression may fail on rows that the condition leaves out.
    if (!index.where.empty())
      for (size_t i = 0; i < parts.size(); ++i)
        if (index.parts[i].column.empty()) parts[i] = "CASE WHEN " + condition + " THEN " + parts[i] + " END";
    rule.tuple = "SELECT " + list(parts, ", ") + ", CASE WHEN " + condition + " THEN 1 END FROM " + t_.quoted() +
                 " WHERE " + t_.key_match();
    // The condition first: SQLite may find rows by another index that has a part of the columns.
    rule.holder = "SELECT " + t_.key_list() + " FROM " + t_.quoted() + " WHERE " +
                  (index.where.empty() ? "" : condition + " AND ") + list(equal, " AND ");
    t_.constraints.unique.push_back(std::move(rule));
  }

  Status read_foreign_keys() {
    struct Declared {
      std::string parent, on_delete;
      std::vector<std::string> from, to;
    };
    std::map<int64_t, Declared> declared;
    {
      REJOIN_ASSIGN(Statement s, prepare(db_,
                                         "SELECT id, \"table\", \"from\", coalesce(\"to\", ''), on_delete FROM "
                                         "pragma_foreign_key_list(?1, 'main') ORDER BY id, seq"));
      s.bind_text(1, t_.name);
      for (;;) {
        REJOIN_ASSIGN(bool row, s.step());
        if (!row) break;
        Declared& d = declared[s.integer(0)];
        d.parent = s.text(1);
        d.from.emplace_back(s.text(2));
        if (!s.text(3).empty()) d.to.emplace_back(s.text(3));
        d.on_delete = s.text(4);
      }
    }
    for (auto& entry : declared) {
      Declared& d = entry.second;
      if (d.to.empty()) {
        REJOIN_ASSIGN(Statement s,
                      prepare(db_, "SELECT name FROM pragma_table_info(?1, 'main') WHERE pk>0 ORDER BY pk"));
        s.bind_text(1, d.parent);
        for (;;) {
          REJOIN_ASSIGN(bool row, s.step());
          if (!row) break;
          d.to.emplace_back(s.text(0));
        }
      }
      REJOIN_ASSIGN(bool usable, has_columns(d.parent, d.to));
      if (usable && d.to.size() == d.from.size()) add_foreign_key(d.parent, d.from, d.to, d.on_delete);
    }
    std::string missing;
    for (const ForeignKey& f : t_.constraints.parents) missing += (missing.empty() ? "" : ", ") + lacks_.at(f.orphans);
    if (!missing.empty())
      t_.constraints.missing = "SELECT " + missing + " FROM " + t_.quoted() + " AS c WHERE " + t_.key_match();
    return {};
  }

  // A parent table that is not here refuses nothing: whoever enforces foreign keys could not write to the child at all.
  Result<bool> has_columns(const std::string& table, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      REJOIN_ASSIGN(Statement s,
                    prepare(db_, "SELECT 1 FROM pragma_table_xinfo(?1, 'main') WHERE name=?2 COLLATE NOCASE"));
      s.bind_text(1, table);
      s.bind_text(2, name);
      REJOIN_ASSIGN(bool row, s.step());
      if (!row) return false;
    }
    return !names.empty();
  }

  void add_foreign_key(const std::string& parent, const std::vector<std::string>& from,
                       const std::vector<std::string>& to, const std::string& on_delete) {
    ForeignKey f;
    const Table* tracked = catalog_.find(parent);
    f.parent = parent;
    f.parent_id = tracked ? tracked->id : 0;
    crdt::ColumnSet columns;
    std::string given, bound, refers, joined;
    for (size_t i = 0; i < from.size(); ++i) {
      f.from.push_back(column_at(t_, from[i]));
      if (f.from.back() == kNoSuchColumn) return;  // a generated column
      if (f.from.back() >= 0) columns.add(static_cast<uint32_t>(f.from.back()));
      if (tracked) f.to.push_back(column_at(*tracked, to[i]));
      const std::string mark = "?" + std::to_string(i + 1), and_ = i ? " AND " : "";
      given += and_ + "c." + quote(from[i]) + " IS NOT NULL";
      // As SQLite looks for a parent: with the affinity and by the collation of its column alone.
      joined += and_ + "p." + quote(to[i]) + " = +c." + quote(from[i]);
      bound += and_ + quote(to[i]) + " = " + mark;
      refers += and_ + quote(from[i]) + " = " + mark;
      f.what += (i ? ", " : "") + from[i];
    }
    std::vector<int> sorted = f.to;
    std::sort(sorted.rbegin(), sorted.rend());
    f.to_key = tracked && sorted.size() == tracked->key.size();
    for (size_t i = 0; f.to_key && i < sorted.size(); ++i) f.to_key = sorted[i] == -1 - static_cast<int>(i);
    for (size_t i = 0; tracked && i < f.to.size(); ++i) {
      const char* collation = nullptr;
      sqlite3_table_column_metadata(db_, "main", tracked->name.c_str(), to[i].c_str(), nullptr, &collation, nullptr,
                                    nullptr, nullptr);
      f.collations.push_back(crdt::collation_of(collation ? collation : ""));
      f.comparable = f.comparable && f.to[i] != kNoSuchColumn && f.collations.back() != crdt::Collation::other;
      f.to_key = f.to_key && found_from_parent(column(t_, f.from[i]).affinity, column(*tracked, f.to[i]).affinity);
    }
    f.to_default = on_delete == "SET DEFAULT";
    // A reference that is part of the row's own key cannot be left out.
    f.stands_in = (f.to_default || on_delete == "SET NULL") && columns.count() == from.size();
    for (size_t i = 0; f.stands_in && i < f.from.size(); ++i) {
      const Column& c = column(t_, f.from[i]);
      f.stands_in = !c.not_null || (f.to_default && c.default_value.scalar.type != crdt::ValueType::null);
    }
    const std::string table = "main." + quote(parent);
    const std::string lacks = "(" + given + " AND NOT EXISTS (SELECT 1 FROM " + table + " AS p WHERE " + joined + "))";
    std::string keys;
    for (const Column& c : t_.key) keys += (keys.empty() ? "c." : ", c.") + quote(c.name);
    f.exists = "SELECT 1 FROM " + table + " WHERE " + bound;
    f.children = "SELECT " + t_.key_list() + " FROM " + t_.quoted() + " WHERE " + refers;
    f.orphans = "SELECT " + keys + " FROM " + t_.quoted() + " AS c WHERE " + lacks;
    lacks_[f.orphans] = lacks;
    t_.constraints.groups.join(columns);
    t_.constraints.referring |= columns;
    t_.constraints.stand_ins |= f.stands_in;
    t_.constraints.parents.push_back(std::move(f));
  }

  sqlite3* db_;
  Catalog& catalog_;
  Table& t_;
  std::map<std::string, std::string> generated_, lacks_;
};

}  // namespace

Status read_constraints(sqlite3* db, Catalog& catalog) {
  for (const auto& t : catalog.tables) REJOIN_TRY(TableConstraints(db, catalog, *t).read());
  for (const auto& child : catalog.tables)
    for (size_t i = 0; i < child->constraints.parents.size(); ++i) {
      const ForeignKey& f = child->constraints.parents[i];
      Table* parent = f.parent_id ? catalog.find(f.parent_id) : nullptr;
      if (!parent) continue;
      parent->constraints.children.push_back({child->id, i});
      for (int at : f.to)
        if (at >= 0 && at != kNoSuchColumn) parent->constraints.referred.add(static_cast<uint32_t>(at));
    }
  return {};
}

}  // namespace rejoin::sqlite
