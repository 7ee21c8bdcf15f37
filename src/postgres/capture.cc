#include "postgres/capture.h"

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

std::string tenant_of(const Table& t, const std::string& row) {
  return t.tenant ? "coalesce(" + row + "." + t.tenant->quoted + "::text, '')" : quote_text(t.owner);
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

std::string outbox(const Table& t, int op, const std::string& row, const std::string& more_columns = "",
                   const std::string& more_values = "") {
  return "INSERT INTO rejoin.outbox(tenant, tbl, op, ms, key" + more_columns + ") SELECT " + tenant_of(t, row) + ", " +
         std::to_string(t.id) + ", " + std::to_string(op) + ", at, " + key_of(t, row) + more_values;
}

}  // namespace

std::string capture_sql(const Table& t) {
  const std::string name = function_name(t);
  // A dropped column must not make the application's writes fail: what names columns is tried apart, and the fallback
  // says that anything may have changed. No row is written there, so the subtransaction costs no transaction number.
  std::string body = "CREATE OR REPLACE FUNCTION " + name + R"sql(() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET "TimeZone" = 'UTC' SET "DateStyle" = 'ISO, YMD' SET extra_float_digits = '1'
SET "IntervalStyle" = 'postgres' SET row_security = on
AS $capture$
DECLARE
  at bigint := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
  changed text[];
  old_key text[]; new_key text[]; old_tenant text; new_tenant text; was_row text[];
BEGIN
  IF TG_OP = 'INSERT' THEN
    )sql" + outbox(t, kInserted, "n") +
                     R"sql( FROM new_rows AS n;
  ELSIF TG_OP = 'DELETE' THEN
    BEGIN
      )sql" + outbox(t, kDeleted, "o", ", was", ", " + values_of(t, "o")) +
                     R"sql( FROM old_rows AS o;
    EXCEPTION WHEN undefined_column THEN
      )sql" + outbox(t, kDeleted, "o") +
                     R"sql( FROM old_rows AS o;
    END;
  ELSIF TG_OP = 'TRUNCATE' THEN
    BEGIN
      )sql" + outbox(t, kDeleted, "o", ", was", ", " + values_of(t, "o")) +
                     " FROM " + t.sql + R"sql( AS o;
    EXCEPTION WHEN undefined_column THEN
      )sql" + outbox(t, kDeleted, "o") +
                     " FROM " + t.sql + R"sql( AS o;
    END;
  ELSE
    old_key := )sql" +
                     key_of(t, "OLD") + "; new_key := " + key_of(t, "NEW") + "; old_tenant := " + tenant_of(t, "OLD") +
                     "; new_tenant := " + tenant_of(t, "NEW") + R"sql(;
    IF old_key = new_key AND old_tenant = new_tenant THEN
      BEGIN
        changed := )sql" +
                     changed_columns(t) + R"sql(;
      EXCEPTION WHEN undefined_column THEN
        changed := NULL;
      END;
      IF changed IS NULL OR cardinality(changed) > 0 THEN
        INSERT INTO rejoin.outbox(tenant, tbl, op, ms, key, columns) VALUES (new_tenant, )sql" +
                     std::to_string(t.id) + ", " + std::to_string(kUpdated) + R"sql(, at, new_key, changed);
      END IF;
    ELSE
      BEGIN
        was_row := )sql" +
                     values_of(t, "OLD") + R"sql(;
      EXCEPTION WHEN undefined_column THEN
        was_row := NULL;
      END;
      INSERT INTO rejoin.outbox(tenant, tbl, op, ms, key, was) VALUES (old_tenant, )sql" +
                     std::to_string(t.id) + ", " + std::to_string(kDeleted) + R"sql(, at, old_key, was_row);
      INSERT INTO rejoin.outbox(tenant, tbl, op, ms, key) VALUES (new_tenant, )sql" +
                     std::to_string(t.id) + ", " + std::to_string(kInserted) + R"sql(, at, new_key);
    END IF;
  END IF;
  RETURN NULL;
END $capture$;
)sql";
  auto trigger = [&](const std::string& kind, const std::string& when, const std::string& rest) {
    body += "DROP TRIGGER IF EXISTS rejoin_capture_" + kind + " ON " + t.sql + ";\nCREATE TRIGGER rejoin_capture_" +
            kind + " " + when + " ON " + t.sql + " " + rest + " " + kNotOurs + " EXECUTE FUNCTION " + name + "();\n";
  };
  trigger("insert", "AFTER INSERT", "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT");
  trigger("update", "AFTER UPDATE", "FOR EACH ROW");
  trigger("delete", "AFTER DELETE", "REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT");
  trigger("truncate", "BEFORE TRUNCATE", "FOR EACH STATEMENT");
  return body;
}

std::string drop_capture_sql(const Table& t) {
  std::string out;
  for (const char* kind : {"insert", "update", "delete", "truncate"})
    out += "DROP TRIGGER IF EXISTS rejoin_capture_" + std::string(kind) + " ON " + t.sql + ";\n";
  return out + "DROP FUNCTION IF EXISTS " + function_name(t) + "();\n";
}

}  // namespace rejoin::postgres
