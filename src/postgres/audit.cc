#include "postgres/audit.h"

#include "postgres/admin.h"

namespace rejoin::postgres {
namespace {

// JSON arrays of names, which unnest() leaves whole.
std::string names_json(const std::vector<std::string>& names) {
  std::string out = "[";
  for (const std::string& name : names) {
    out += out.size() > 1 ? ",\"" : "\"";
    for (char c : name) {
      if (c >= 0 && c < 0x20) {
        out += "\\u00" + to_hex(BytesView(&c, 1));
        continue;
      }
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + "]";
}

void add_or_null(Array& array, const std::string& text) {
  if (text.empty())
    array.add_null();
  else
    array.add(BytesView(text));
}

}  // namespace

Result<bool> has_audit(Connection& db) {
  REJOIN_ASSIGN(const int64_t version, installed_version(db));
  return version >= 2;
}

Status AuditTable::write(const std::string& tenant, const std::vector<sync::AuditEntry>& entries) {
  Array devices = Array::texts(), events = Array::texts(), ops = Array::texts(), tables = Array::texts(),
        keys = Array::texts(), columns = Array::texts(), codes = Array::texts(), reasons = Array::texts();
  Array nonces = Array::byteas(), written = Array::integers();
  for (const sync::AuditEntry& e : entries) {
    devices.add(BytesView(e.device));
    events.add(BytesView(e.event));
    nonces.add(BytesView(e.nonce));
    add_or_null(ops, e.op);
    add_or_null(tables, e.table);
    add_or_null(keys, e.key);
    add_or_null(columns, e.table.empty() ? "" : names_json(e.columns));
    if (e.table.empty())
      written.add_null();
    else
      written.add(e.written_ms);
    add_or_null(codes, e.code);
    add_or_null(reasons, e.reason);
  }
  for (bool made = false;;) {
    db_.send("BEGIN");
    // A wait for a synchronous standby that was cancelled is told as a warning.
    db_.send("SELECT set_config('rejoin.tenant', $1, true), set_config('client_min_messages', 'warning', true)",
             Params().text(tenant));
    // While no standby answers, one COMMIT of a device's waits, and not one for each retry.
    db_.send("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))::text",
             Params().text("rejoin.audit " + tenant + " " + (entries.empty() ? "" : entries[0].device)));
    db_.send(
        "INSERT INTO rejoin.audit(tenant, device, event, nonce, op, tbl, key, columns, written, code, reason) SELECT "
        "$1, device, event, nullif(nonce, ''), op, tbl, key, columns::jsonb, to_timestamp(written / 1000.0), code, "
        "reason FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS e(device, event, nonce, op, tbl, key, "
        "columns, written, code, reason)",
        Params()
            .text(tenant)
            .array(devices)
            .array(events)
            .array(nonces)
            .array(ops)
            .array(tables)
            .array(keys)
            .array(columns)
            .array(written)
            .array(codes)
            .array(reasons));
    // What waits can be cancelled as long as no COMMIT goes with it.
    auto done = db_.sync();
    if (done.ok()) {
      db_.send_commit();
      done = db_.sync();
    }
    if (done.ok()) return {};
    const std::string state = db_.last_error().state;
    if (db_.usable() && db_.in_transaction()) {
      db_.send("ROLLBACK");
      REJOIN_TRY(db_.sync());
    }
    if (state == "42P01" || state == "3F000")
      return fail(Code::not_found,
                  "the schema rejoin in this PostgreSQL database has no audit log; run: rejoin pg init");
    // The first entry of a day.
    if (state != "23514" || std::exchange(made, true)) return done.error();
    REJOIN_TRY(db_.query("SELECT rejoin.audit_partitions()::text"));
  }
}

}  // namespace rejoin::postgres
