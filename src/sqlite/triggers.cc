#include "sqlite/triggers.h"

#include <algorithm>
#include <map>
#include <set>

#include "sqlite/declaration.h"
#include "sqlite/layout.h"
#include "sqlite/sql.h"

namespace rejoin::sqlite {
namespace {

// The raw clock, turned into milliseconds when folded. julianday() is the cheapest clock a trigger has: a real with
// millisecond resolution and no text to format.
constexpr const char* kNow = "julianday('now')";

constexpr const char* kCompared = " COLLATE BINARY IS NOT NEW.";

std::string columns_of(const char* row, const std::vector<Column>& columns) {
  std::string out;
  for (const Column& c : columns) {
    if (!c.present) continue;
    if (!out.empty()) out += ", ";
    out += std::string(row) + "." + quote(c.name);
  }
  return out;
}

std::string log_columns(const Table& t, bool bits) {
  std::string out = bits ? "INSERT INTO rejoin_log(tbl, op, bits, ms" : "INSERT INTO rejoin_log(tbl, op, ms";
  for (size_t i = 0; i < t.key.size(); ++i) out += ", k" + std::to_string(i);
  return out + ")";
}

// The operation's number, or an ABORT when a key column is NULL. Checked here and not by a trigger of its own: that
// would cost three times as much.
std::string op_or_refusal(const Table& t, LogOp op) {
  std::string out;
  if (t.integer_key || t.without_rowid) return std::to_string(op);
  for (const Column& c : t.key)
    if (!c.not_null)
      out += " WHEN NEW." + quote(c.name) + " IS NULL THEN RAISE(ABORT, " +
             quote_text("rejoin: key column " + quote(c.name) + " of the synced table " + quote(t.name) +
                        " is NULL; every row needs a key, rejoin_uuid() makes one") +
             ")";
  if (out.empty()) return std::to_string(op);
  return "CASE" + out + " ELSE " + std::to_string(op) + " END";
}

std::string log_row(const Table& t, LogOp op, const char* row) {
  return log_columns(t, false) + " VALUES(" + std::to_string(t.id) + ", " +
         (op == kInsert ? op_or_refusal(t, op) : std::to_string(op)) + ", " + kNow + ", " + columns_of(row, t.key) +
         ");";
}

std::string all_columns(const Table& t) {
  std::string columns = t.column_list();
  return t.key_list() + (columns.empty() ? "" : ", ") + columns;
}

std::string all_values(const Table& t, const char* row) {
  std::string columns = columns_of(row, t.columns);
  return columns_of(row, t.key) + (columns.empty() ? "" : ", ") + columns;
}

// Deleted rows are appended to a table without an index, whatever their keys: the fold sorts them.
std::string into_gone(const Table& t) {
  return " INSERT INTO " + quote(gone_table(t.name)) + "(" + all_columns(t) + ")";
}

// `value` writes what a column is to be compared with.
template <class F>
std::string key_equals(const Table& t, F&& value) {
  std::string out;
  for (const Column& c : t.key) out += (out.empty() ? "" : " AND ") + quote(c.name) + " = " + value(c.name);
  return out;
}

std::string changed_bits(const std::vector<const Column*>& chunk) {
  std::string out;
  for (size_t i = 0; i < chunk.size(); ++i) {
    if (!chunk[i]->present) continue;
    std::string name = quote(chunk[i]->name);
    std::string test = "OLD." + name + kCompared + name;
    // Only a column without affinity can tell 1 from 1.0.
    if (chunk[i]->affinity == Affinity::blob) test += " OR typeof(OLD." + name + ") <> typeof(NEW." + name + ")";
    if (!out.empty()) out += " + ";
    out += "CASE WHEN " + test + " THEN " + std::to_string(1u << i) + " ELSE 0 END";
  }
  return out.empty() ? "0" : out;
}

// The columns that changed_bits() compares, in its order.
std::vector<std::string> compared_columns(std::string_view trigger) {
  std::vector<std::string> out;
  for (size_t i = 0; i < trigger.size(); ++i) {
    const char close = trigger[i];
    if (close != '"' && close != '\'') continue;
    const bool of_old = i >= 4 && trigger.substr(i - 4, 4) == "OLD.";
    std::string name;
    for (++i; i < trigger.size() && (trigger[i] != close || trigger.substr(i, 2) == std::string(2, close)); ++i) {
      name.push_back(trigger[i]);
      if (trigger[i] == close) ++i;
    }
    if (of_old && trigger.substr(i + 1).starts_with(kCompared)) out.push_back(std::move(name));
  }
  return out;
}

// Four bytes that tell texts apart.
Bytes fingerprint_of(std::string_view text) {
  uint32_t hash = 2166136261;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619;
  Bytes out;
  for (int shift = 24; shift >= 0; shift -= 8) put_u8(out, static_cast<uint8_t>(hash >> shift));
  return out;
}

// What OR REPLACE puts in the place of a NULL; "" where it refuses the NULL, or takes it, and where the default calls
// functions: one that is not there would make writes fail that do without it.
std::string default_of(const Table& t, const Column& c) {
  if (!c.present || !c.not_null || c.default_text.empty() || (t.integer_key && !t.key.empty() && &c == &t.key[0]))
    return "";
  if (!c.literal_default) {
    const bool number = c.default_text.find_first_not_of("0123456789.eE+-") == std::string::npos;
    return number || lower_name(c.default_text).starts_with("current_") ? "(" + c.default_text + ")" : "";
  }
  const crdt::ValueRef value = c.default_value.ref();
  if (value.type == crdt::ValueType::null) return "";
  return value.type == crdt::ValueType::text ? quote_text(value.bytes) : "(" + c.default_text + ")";
}

// In a BEFORE trigger NEW still has the NULL: columns (lower_name) that are to be read in another way, generated ones
// that are made of them included.
std::map<std::string, std::string> as_replaced(const Table& t, const std::set<std::string>& all) {
  std::map<std::string, std::string> out;
  for (const auto* of : {&t.key, &t.columns})
    for (const Column& c : *of)
      if (const std::string value = default_of(t, c); !value.empty())
        out[lower_name(c.name)] = "ifnull(NEW." + quote(c.name) + ", " + value + ")";
  for (size_t before = 0; before != out.size();) {
    before = out.size();
    for (const auto& [name, expression] : t.constraints.generated_from) {
      const std::set<std::string> names = names_in(expression);
      if (!out.contains(name) &&
          std::any_of(names.begin(), names.end(), [&](const std::string& n) { return out.contains(n); }))
        out[name] = "(" + of_row(expression, all, "NEW", out) + ")";
    }
  }
  return out;
}

// Rows that an OR REPLACE may displace through a UNIQUE index other than the key: SQLite deletes them without telling
// any trigger. They are logged as suspects, with their values, before it happens; the fold looks which are really gone.
void add_suspect_triggers(const Table& t, const std::string& prefix, std::vector<std::string>& out) {
  int n = 0;
  std::set<std::string> columns;
  for (const auto* of : {&t.key, &t.columns})
    for (const Column& c : *of) columns.insert(lower_name(c.name));
  std::set<std::string> all = columns;
  for (const std::string& name : t.generated) all.insert(lower_name(name));
  const std::map<std::string, std::string> replaced = as_replaced(t, all);
  const auto new_value = [&](const std::string& column) {
    const auto other = replaced.find(lower_name(column));
    return other != replaced.end() ? other->second : "NEW." + quote(column);
  };
  const std::string old_key = key_equals(t, [](const std::string& column) { return "OLD." + quote(column); });
  std::string new_key = key_equals(t, new_value);
  // For a key that SQLite has yet to number, NEW has -1.
  if (t.integer_key) new_key += " AND NEW." + quote(t.key[0].name) + " <> -1";
  for (const auto& index : t.unique) {
    // With the condition the partial index itself finds the rows. It stands first: by another index SQLite may find
    // rows that it leaves out. An update that moves a row into the index by another column is seen too.
    std::string match = index.where.empty() ? "" : "(" + index.where + ")", of;
    bool any_column = false;  // an update of any may move the row
    for (const auto& part : index.parts) {
      match += match.empty() ? "" : " AND ";
      if (part.column.empty()) {
        // It may fail on rows that the condition leaves out.
        std::string value = "(" + of_row(part.expression, all, "NEW", replaced) + ")";
        if (!index.where.empty())
          value = "CASE WHEN (" + of_row(index.where, all, "NEW", replaced) + ") THEN " + value + " END";
        match += "(" + part.expression + ") = " + value;
        any_column = true;
      } else {
        match += quote(part.column) + " = " + new_value(part.column);
        of += (of.empty() ? "" : ", ") + quote(part.column);
        any_column |= !columns.contains(lower_name(part.column));  // generated from others
      }
      if (sqlite3_stricmp(part.collation.c_str(), "BINARY") != 0) match += " COLLATE " + quote(part.collation);
    }
    if (any_column || !index.where.empty()) of.clear();
    auto body = [&](const std::string& self) {
      std::string from = " FROM " + quote(t.name) + " WHERE " + match + " AND NOT (" + self + ");";
      std::string keys = t.key_list();
      std::string b = log_columns(t, false) + " SELECT " + std::to_string(t.id) + ", " + std::to_string(kSuspect) +
                      ", " + kNow + ", " + keys + from;
      if (t.keep_deleted) b += into_gone(t) + " SELECT " + all_columns(t) + from;
      return b;
    };
    // Named after what it does, so that an index that was made, dropped or changed later is noticed.
    std::string suffix = std::to_string(n++) + "_" + to_hex(fingerprint_of(match + "|" + of));
    out.push_back("CREATE TRIGGER main." + quote(prefix + "replace_insert_" + suffix) + " BEFORE INSERT ON " +
                  quote(t.name) + " BEGIN " + body(new_key) + " END");
    out.push_back("CREATE TRIGGER main." + quote(prefix + "replace_update_" + suffix) + " BEFORE UPDATE " +
                  (of.empty() ? "" : "OF " + of + " ") + "ON " + quote(t.name) + " BEGIN " + body(old_key) + " END");
  }
}

}  // namespace

std::string trigger_prefix(uint64_t table_id) { return "rejoin_capture_" + std::to_string(table_id) + "_"; }

std::vector<std::string> create_triggers(const Table& t) {
  std::vector<std::string> out;
  std::string prefix = trigger_prefix(t.id);
  auto trigger = [&](const std::string& kind, const std::string& when, const std::string& body) {
    out.push_back("CREATE TRIGGER main." + quote(prefix + kind) + " AFTER " + when + " BEGIN " + body + " END");
  };
  std::string on = " ON " + quote(t.name);
  std::string keep_old;
  if (t.keep_deleted) keep_old = into_gone(t) + " VALUES(" + all_values(t, "OLD") + ");";

  trigger("insert", "INSERT" + on, log_row(t, kInsert, "NEW"));
  trigger("delete", "DELETE" + on, keep_old + " " + log_row(t, kDelete, "OLD"));

  auto update = [&](size_t first, size_t count) {
    std::vector<const Column*> chunk;
    std::string of;
    for (size_t i = first; i < first + count; ++i) {
      chunk.push_back(&t.columns[i]);
      if (t.columns[i].present) of += (of.empty() ? "" : ", ") + quote(t.columns[i].name);
    }
    bool all = t.columns.size() <= kUpdateChunk;
    if (of.empty() && !all) return;
    std::string bits = changed_bits(chunk);
    if (first) bits = "(" + std::to_string(first << 8) + " + " + bits + ")";
    trigger("update_" + std::to_string(first), (all ? "UPDATE" : "UPDATE OF " + of) + on,
            log_columns(t, true) + " VALUES(" + std::to_string(t.id) + ", " + std::to_string(kUpdate) + ", " + bits +
                ", " + kNow + ", " + columns_of("NEW", t.key) + ");");
  };
  // One trigger without OF also sees columns that were added behind our back.
  if (t.columns.size() <= kUpdateChunk)
    update(0, t.columns.size());
  else
    for (size_t first = 0; first < t.columns.size(); first += kUpdateChunk)
      update(first, std::min(kUpdateChunk, t.columns.size() - first));

  // A changed key is a delete of the old row and an insert of the new one. An integer key can also be set through the
  // name rowid, which UPDATE OF does not see.
  std::string key_of;
  for (const Column& c : t.key) key_of += (key_of.empty() ? "" : ", ") + quote(c.name);
  std::string changed;
  for (const Column& c : t.key) {
    std::string name = quote(c.name);
    changed += (changed.empty() ? "" : " OR ") + ("OLD." + name + kCompared + name);
    if (c.affinity == Affinity::blob) changed += " OR typeof(OLD." + name + ") <> typeof(NEW." + name + ")";
  }
  trigger("key", "UPDATE" + (t.integer_key ? std::string() : " OF " + key_of) + on + " WHEN " + changed,
          keep_old + " " + log_row(t, kDelete, "OLD") + " " + log_row(t, kInsert, "NEW"));

  add_suspect_triggers(t, prefix, out);
  return out;
}

Result<CaptureTriggers> capture_triggers(sqlite3* db) {
  CaptureTriggers out;
  REJOIN_ASSIGN(Statement s, prepare(db,
                                     "SELECT name, sql FROM main.sqlite_schema WHERE type='trigger' AND name GLOB "
                                     "'rejoin_capture_*'"));
  for (;;) {
    REJOIN_ASSIGN(bool row, s.step());
    if (!row) break;
    out.emplace(s.text(0), s.text(1));
  }
  return out;
}

bool has_triggers(const CaptureTriggers& present, const Table& table) {
  size_t wanted = 0;
  for (const std::string& sql : create_triggers(table)) {
    const size_t from = sql.find('"');  // CREATE TRIGGER main."name" …
    const auto found = present.find(sql.substr(from + 1, sql.find('"', from + 1) - from - 1));
    if (found == present.end() || found->second != "CREATE TRIGGER " + sql.substr(from)) return false;
    ++wanted;
  }
  const std::string prefix = trigger_prefix(table.id);
  size_t count = 0;
  for (auto it = present.lower_bound(prefix); it != present.end() && it->first.starts_with(prefix); ++it) ++count;
  return count == wanted;
}

bool lacks_suspects(const CaptureTriggers& present, const Table& table) {
  std::vector<std::string> wanted;
  add_suspect_triggers(table, trigger_prefix(table.id), wanted);
  return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& sql) {
    const size_t from = sql.find('"') + 1;
    return !present.contains(sql.substr(from, sql.find('"', from) - from));
  });
}

std::vector<std::string> names_in_triggers(const CaptureTriggers& present, const Table& table) {
  std::vector<std::string> out(table.columns.size());
  for (size_t first = 0; first < out.size(); first += kUpdateChunk) {
    const auto trigger = present.find(trigger_prefix(table.id) + "update_" + std::to_string(first));
    if (trigger == present.end()) continue;
    const std::vector<std::string> names = compared_columns(trigger->second);
    std::vector<size_t> ids;  // of columns that were there when the trigger was made
    for (size_t c = first; c < std::min(first + kUpdateChunk, out.size()); ++c)
      if (!table.columns[c].name.empty()) ids.push_back(c);
    if (names.size() != ids.size()) continue;
    for (size_t i = 0; i < ids.size(); ++i) out[ids[i]] = names[i];
  }
  return out;
}

Status drop_triggers(sqlite3* db, uint64_t table_id) {
  std::vector<std::string> names;
  {
    REJOIN_ASSIGN(Statement s,
                  prepare(db, "SELECT name FROM main.sqlite_schema WHERE type='trigger' AND name GLOB ?1"));
    std::string pattern = trigger_prefix(table_id) + "*";
    s.bind_text(1, pattern);
    for (;;) {
      REJOIN_ASSIGN(bool row, s.step());
      if (!row) break;
      names.emplace_back(s.text(0));
    }
  }
  for (const std::string& name : names) REJOIN_TRY(exec(db, "DROP TRIGGER main." + quote(name)));
  return {};
}

}  // namespace rejoin::sqlite
