#include "postgres/capture.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace rejoin::postgres {
namespace {

// What a merge writes itself is no write of others; what triggers and cascades add to it is, and happens at a depth.
// Conditions of triggers are judged before the trigger counts.
constexpr const char* kNotOurs =
    "WHEN (NOT (pg_trigger_depth() = 0 AND coalesce(current_setting('rejoin.merging', true), '') = 'on'))";

std::string function_name(const Table& t) { return "rejoin.capture_" + std::to_string(t.id); }

std::string key_of(const Table& t, const std::string& row) {
  std::string out;
  for (const Column& c : t.key) out += (out.empty() ? "" : ", ") + read_expression(c.type, row + "." + c.quoted);
  return "ARRAY[" + out + "]";
}

// What the values of a key column are, as far as another type makes other keys of them.
std::string key_type(const Type& type) {
  switch (type.kind) {
    case TypeClass::uuid:
      return "UUID";
    case TypeClass::timestamptz:
      return "TIMESTAMPTZ";
    case TypeClass::timestamp:
      return "TIMESTAMP";
    case TypeClass::date:
      return "DATE";
    default:
      return contract_type(type);
  }
}

// Says in the function which columns are the key, by what a rename leaves, and what values they hold. The numbers are
// of this table: one that a dump was restored into has others.
constexpr const char* kKeyOf = "-- key of ";
std::string key_types(const Table& t) {
  std::string out;
  for (const Column& c : t.key) out += " " + key_type(c.type);
  return out;
}
std::string key_numbers(const Table& t) {
  std::string out;
  for (const Column& c : t.key) out += " " + std::to_string(c.number);
  return out;
}
std::string key_line(const Table& t) {
  return kKeyOf + std::to_string(t.oid) + ":" + key_numbers(t) + " is" + key_types(t) + "\n";
}
// The same as builds of a few days said it.
constexpr const char* kKeyIs = "-- key:";
std::string earlier_key_line(const Table& t) {
  std::string out = kKeyIs;
  for (const Column& c : t.key) out += " " + std::to_string(c.number) + " " + contract_type(c.type);
  return out + "\n";
}

// The first line of the function that begins so, with its end; "": there is none.
std::string line_of(const std::string& function, const char* begins) {
  const size_t begin = function.find("\n" + std::string(begins));
  return begin == std::string::npos ? "" : function.substr(begin + 1, function.find('\n', begin + 1) - begin);
}

// The numbers of the key's columns in such a line, which may be another database's.
std::vector<int64_t> numbers_in(const std::string& line) {
  std::vector<int64_t> out;
  const size_t begin = line.find(':'), end = line.find(" is");
  for (size_t at = begin; at < end && (at = line.find_first_of("0123456789", at)) < end;
       at = line.find_first_not_of("0123456789", at))
    out.push_back(std::strtoll(line.c_str() + at, nullptr, 10));
  return out;
}

// Says in the function that devices call the table by the name that it had itself when it was tracked.
constexpr const char* kOwnName = "-- own name\n";

// The columns in key_of(…, "OLD"), as the function has it.
std::vector<std::string> key_in(const std::string& function) {
  constexpr std::string_view kBegin = "v_key_old := ARRAY[", kEnd = "]; v_key_new", kColumn = "OLD.\"";
  std::vector<std::string> out;
  const size_t begin = function.find(kBegin);
  if (begin == std::string::npos) return out;
  const std::string text = function.substr(begin, function.find(kEnd, begin) - begin);
  for (size_t at = text.find(kColumn); at != std::string::npos; at = text.find(kColumn, at)) {
    std::string name;
    for (at += kColumn.size(); at < text.size() && (text[at] != '"' || text.substr(at, 2) == "\"\""); ++at)
      if (name += text[at]; text[at] == '"') ++at;
    out.push_back(std::move(name));
  }
  return out;
}

std::string tenant_of(const Table& t, const std::string& row) {
  return t.tenant ? row + "." + t.tenant->quoted + "::text" : quote_text(t.owner);
}

// All columns by name and value, one after the other.
std::string values_of(const Table& t, const std::string& row) {
  std::string out;
  for (const Column& c : t.columns)
    if (c.present)
      out += (out.empty() ? "" : ", ") + quote_text(c.name) + ", " + read_expression(c.type, row + "." + c.quoted);
  return "ARRAY[" + out + "]::text[]";
}

std::string changed_columns(const Table& t) {
  std::string out;
  for (const Column& c : t.columns) {
    if (!c.present) continue;
    // As text: some types have no equality, and others call unlike values equal (1.0 and 1.00).
    out += (out.empty() ? "" : ", ") + std::string("CASE WHEN ") + "OLD." + c.quoted + "::text IS DISTINCT FROM NEW." +
           c.quoted + "::text THEN " + quote_text(c.name) + " END";
  }
  return "array_remove(ARRAY[" + out + "]::text[], NULL)";
}

std::string insert(const std::string& columns) {
  return "INSERT INTO rejoin.outbox(tenant, tbl, op, ms, key" + columns + ") ";
}

// One entry for each row of `from`, up to that name and behind it. Rows of no tenant are nobody's.
std::string entries_of(const Table& t, OutboxOp op, const std::string& at, const std::string& values) {
  return insert(values.empty() ? "" : ", was") + "SELECT " + tenant_of(t, "r") + ", " + std::to_string(t.id) + ", " +
         std::to_string(op) + ", " + at + ", " + key_of(t, "r") + (values.empty() ? "" : ", " + values);
}
std::string as_rows(const Table& t) {
  return " AS r" + (t.tenant ? " WHERE r." + t.tenant->quoted + " IS NOT NULL" : "");
}
std::string entries(const Table& t, OutboxOp op, const std::string& from, const std::string& values) {
  return entries_of(t, op, "v_at", values) + " FROM " + from + as_rows(t) + ";\n";
}

// One entry for the row of an update.
std::string entry(const Table& t, OutboxOp op, const std::string& which, const std::string& column,
                  const std::string& value) {
  return insert(column) + "VALUES (v_tenant_" + which + ", " + std::to_string(t.id) + ", " + std::to_string(op) +
         ", v_at, v_key_" + which + value + ");\n";
}

// A dropped column must not make the application's writes fail: what names columns is tried apart, and the fallback
// looks which of them the table still has.
std::string or_else(const std::string& statements, const std::string& fallback) {
  return "BEGIN\n" + statements + "EXCEPTION WHEN undefined_column THEN\n" + fallback + "END;\n";
}

// Sets v_list to the names and values of the columns of "r" that are left, as SQL.
std::string list_present(const Table& t) {
  std::string rows;
  for (const Column& c : t.columns)
    if (c.present)
      rows += (rows.empty() ? "(" : ", (") + quote_text(c.name) + ", " +
              quote_text(read_expression(c.type, "r." + c.quoted)) + ")";
  if (rows.empty()) return "v_list := '';\n";
  return "v_list := coalesce((SELECT string_agg(quote_literal(c.name) || ', ' || c.value, ', ') FROM (VALUES " + rows +
         ") AS c(name, value) JOIN pg_attribute p ON p.attrelid = TG_RELID AND p.attname = c.name AND NOT "
         "p.attisdropped), "
         "'');\n";
}

// As entries() for deletions. `from` is an expression that gives the relation.
std::string all_entries(const Table& t, const std::string& from) {
  return "EXECUTE " + quote_text(entries_of(t, kDeleted, "$1", values_of(t, "r")) + " FROM ") + " || " + from + " || " +
         quote_text(as_rows(t)) + " USING v_at;\n";
}
// The same with the columns that are left.
std::string present_entries(const Table& t, const std::string& from) {
  return list_present(t) + "EXECUTE " + quote_text(entries_of(t, kDeleted, "$1", "ARRAY[")) + " || v_list || " +
         quote_text("]::text[] FROM ") + " || " + from + " || " + quote_text(as_rows(t)) + " USING v_at;\n";
}

// As it is called when TRUNCATE comes.
constexpr const char* kThisTable = "quote_ident(TG_TABLE_SCHEMA) || '.' || quote_ident(TG_TABLE_NAME)";

}  // namespace

std::string capture_sql(const Table& t) {
  const std::string name = function_name(t);
  // The names of the variables win over those of columns, which are all written with their row.
  std::string body = R"sql(
#variable_conflict use_variable
DECLARE
  v_at bigint := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
  v_changed text[]; v_was text[]; v_list text;
  v_key_old text[]; v_key_new text[]; v_tenant_old text; v_tenant_new text;
BEGIN
)sql";
  body += key_line(t) + (t.own_name ? kOwnName : "") + "IF TG_OP = 'INSERT' THEN\n";
  body += entries(t, kInserted, "new_rows", "");
  body += "ELSIF TG_OP = 'DELETE' THEN\n";
  body += or_else(entries(t, kDeleted, "old_rows", values_of(t, "r")), present_entries(t, "'old_rows'"));
  body += "ELSIF TG_OP = 'TRUNCATE' THEN\n";
  body += or_else(all_entries(t, kThisTable), present_entries(t, kThisTable));
  body += "ELSE\n";
  body += "v_key_old := " + key_of(t, "OLD") + "; v_key_new := " + key_of(t, "NEW") + ";\n";
  body += "v_tenant_old := " + tenant_of(t, "OLD") + "; v_tenant_new := " + tenant_of(t, "NEW") + ";\n";
  body += "IF v_key_old = v_key_new AND v_tenant_old IS NOT DISTINCT FROM v_tenant_new THEN\n";
  body += or_else("v_changed := " + changed_columns(t) + ";\n",
                  "v_changed := ARRAY(SELECT o.key FROM json_each_text(row_to_json(OLD)) AS o JOIN "
                  "json_each_text(row_to_json(NEW)) AS w ON w.key = o.key WHERE o.value IS DISTINCT FROM w.value);\n");
  body += "IF v_tenant_new IS NOT NULL AND (v_changed IS NULL OR cardinality(v_changed) > 0) THEN\n";
  body += entry(t, kUpdated, "new", ", columns", ", v_changed");
  body += "END IF;\nELSE\n";
  body +=
      or_else("v_was := " + values_of(t, "OLD") + ";\n",
              list_present(t) +
                  "EXECUTE 'SELECT ARRAY[' || v_list || ']::text[] FROM (SELECT ($1).*) AS r' INTO v_was USING OLD;\n");
  body += "IF v_tenant_old IS NOT NULL THEN\n" + entry(t, kDeleted, "old", ", was", ", v_was") + "END IF;\n";
  body += "IF v_tenant_new IS NOT NULL THEN\n" + entry(t, kInserted, "new", "", "") + "END IF;\n";
  body += "END IF;\nEND IF;\nRETURN NULL;\nEND ";
  // As a text in quotes: names of columns come from contracts, and end any other kind of quotes.
  std::string sql = "CREATE OR REPLACE FUNCTION " + name +
                    R"sql(() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET "TimeZone" = 'UTC' SET "DateStyle" = 'ISO, YMD' SET extra_float_digits = '1'
SET "IntervalStyle" = 'postgres' SET bytea_output = 'hex' SET row_security = on
AS )sql" + quote_text(body) +
                    ";\n";
  auto trigger = [&](const std::string& kind, const std::string& when, const std::string& rest) {
    sql += "DROP TRIGGER IF EXISTS rejoin_capture_" + kind + " ON " + t.sql + ";\nCREATE TRIGGER rejoin_capture_" +
           kind + " " + when + " ON " + t.sql + " " + rest + " " + kNotOurs + " EXECUTE FUNCTION " + name + "();\n";
  };
  trigger("insert", "AFTER INSERT", "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT");
  trigger("update", "AFTER UPDATE", "FOR EACH ROW");
  trigger("delete", "AFTER DELETE", "REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT");
  trigger("truncate", "BEFORE TRUNCATE", "FOR EACH STATEMENT");
  return sql;
}

bool has_own_name(const Table& t, const std::string& function) {
  const std::string key = line_of(function, kKeyOf);
  if (!key.empty()) return function.find(key + kOwnName) != std::string::npos;
  // One that an earlier build has made tells only what the table was called then: where TRUNCATE reads it.
  return function.find("." + quote(t.name) + " AS r") != std::string::npos;
}

bool follows_truncate(const Table& t, const std::string& function) {
  return function.find(kThisTable) != std::string::npos ||
         function.find(" FROM " + t.sql + " AS r") != std::string::npos;
}

bool captures(const Column& c, const std::string& function) {
  return function.find("OLD." + c.quoted + "::text IS DISTINCT FROM") != std::string::npos;
}

std::string other_key(const Table& t, const std::string& function) {
  const std::vector<std::string> was = key_in(function);
  if (was.empty()) return "";
  // Of a type that no key has been tracked with: not one spelling for each value, or another one on devices.
  bool other = was.size() != t.key.size() ||
               std::any_of(t.key.begin(), t.key.end(), [](const Column& c) { return !fits_key(c.type); });
  const std::string line = line_of(function, kKeyOf), earlier = line_of(function, kKeyIs);
  if (line.starts_with(kKeyOf + std::to_string(t.oid) + ":")) {
    other |= line != key_line(t);
  } else if (!line.empty()) {
    // Restored from a dump.
    other |= !line.ends_with(" is" + key_types(t) + "\n");
    // Columns have the same number there, or a lower one: those before it that were dropped are not in a dump. A higher
    // one has a column that was made since, and one beside the key is in it only since.
    const std::vector<int64_t> numbers = numbers_in(line);
    for (size_t i = 0; !other && i < t.key.size(); ++i)
      other = i >= numbers.size() || t.key[i].number > numbers[i] ||
              std::any_of(t.columns.begin(), t.columns.end(), [&](const Column& c) { return c.name == t.key[i].name; });
    // Under another name a key column was renamed, unless there still is one of the old name.
    const auto is_there = [&](const std::string& name) {
      const auto called_so = [&](const Column& c) { return c.present && c.name == name; };
      return std::any_of(t.columns.begin(), t.columns.end(), called_so) ||
             std::any_of(t.key.begin(), t.key.end(), [&](const Column& c) { return c.name == name; }) ||
             std::find(t.unannounced.begin(), t.unannounced.end(), name) != t.unannounced.end();
    };
    for (size_t i = 0; !other && i < was.size(); ++i) other = was[i] != t.key[i].name && is_there(was[i]);
  } else if (!earlier.empty()) {
    other |= earlier != earlier_key_line(t);
  } else {
    // Made by a still earlier build: a key column that is still there, and in the key no more.
    for (const Column& c : t.columns) other |= c.present && std::find(was.begin(), was.end(), c.name) != was.end();
  }
  if (!other) return "";
  std::string out;
  for (const std::string& name : was) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::string drop_capture_sql(const Table& t) {
  std::string out;
  for (const char* kind : {"insert", "update", "delete", "truncate"})
    out += "DROP TRIGGER IF EXISTS rejoin_capture_" + std::string(kind) + " ON " + t.sql + ";\n";
  return out + "DROP FUNCTION IF EXISTS " + function_name(t) + "();\n";
}

}  // namespace rejoin::postgres
