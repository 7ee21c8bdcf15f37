#include "crdt/key.h"
#include "crdt/print.h"
#include "sqlite/compact.h"
#include "sqlite/ended.h"
#include "sqlite/explain.h"
#include "sqlite/key_reader.h"
#include "sqlite/track.h"
#include "sqlite/triggers.h"

namespace rejoin::sqlite {
namespace {

constexpr size_t kMostFindings = 100;

struct Findings {
  std::string json;
  size_t count = 0;
  void add(const std::string& kind, const std::string& table, const std::string& key, const std::string& message) {
    if (++count > kMostFindings) return;
    json += (json.empty() ? "" : ",") + std::string("{\"kind\":") + crdt::json_string(kind) +
            ",\"table\":" + crdt::json_string(table) + (key.empty() ? "" : ",\"key\":" + key) +
            ",\"message\":" + crdt::json_string(message) + "}";
  }
};

Status check_metadata(Context& ctx, const Table& table, Findings& findings) {
  for (const std::string& metadata : {table.records(), table.shadow(), table.gone()}) {
    const Result<Statement> readable = prepare(ctx.db, "SELECT 1 FROM " + metadata);
    if (readable.ok()) continue;
    if (readable.error().code != Code::internal) return readable.error();
    findings.add("metadata", table.name, "",
                 "its metadata " + metadata +
                     " is gone or damaged, so nothing of it can be synced; untrack the table and track it again, then "
                     "its rows are new writes of this replica");
    break;
  }
  return {};
}

Status check_table(Context& ctx, Table& table, Findings& findings) {
  size_t keys = table.key.size();
  REJOIN_ASSIGN(const CaptureTriggers triggers, capture_triggers(ctx.db));
  if (!has_triggers(triggers, table))
    findings.add("triggers", table.name, "",
                 "its capture triggers (rejoin_capture_…) are not those that it needs; they are made anew at the next "
                 "use of Rejoin that can write to the database");

  TrackOptions options;
  options.allow_integer_key = table.allow_integer_key;
  if (const Status fit = check_trackable(ctx, table, options); !fit.ok()) {
    if (fit.error().code != Code::untrackable) return fit.error();
    findings.add("table", table.name, "", "it was altered and cannot be synced any more: " + fit.error().message);
  }

  // Every record against its row.
  REJOIN_ASSIGN(Statement records, prepare(ctx.db, "SELECT k, rec FROM " + table.records() + " ORDER BY k"));
  REJOIN_ASSIGN(RowReader rows, RowReader::open(ctx, table, false));
  REJOIN_ASSIGN(RowReader shadow, RowReader::open(ctx, table, true));
  crdt::RowRecord record;
  int64_t visible = 0;
  for (;;) {
    REJOIN_ASSIGN(bool more, records.step());
    if (!more) break;
    BytesView key = records.blob(0);
    std::vector<crdt::ValueRef> values;
    Bytes scratch;
    if (!crdt::decode_key(key, keys, values, scratch)) {
      findings.add("key", table.name, "\"" + to_hex(key) + "\"", "a record's key is damaged");
      continue;
    }
    std::string shown = crdt::key_json(key, keys);
    if (!crdt::decode_record(records.blob(1), ctx.sites.size(), record)) {
      findings.add("record", table.name, shown, "the record is damaged");
      continue;
    }
    REJOIN_ASSIGN(bool in_table, rows.find(key));
    REJOIN_ASSIGN(bool in_shadow, shadow.find(key));
    if (record.visible()) {
      ++visible;
      if (!in_table)
        findings.add("missing", table.name, shown,
                     "the record says alive but the table has no such row (it was removed while triggers were off)");
      if (in_shadow) findings.add("shadow", table.name, shown, "an alive row has a copy among the dead");
    } else {
      const bool stand_in = in_table && record.alive && table.constraints.stand_ins;
      visible += stand_in;
      if (in_table && !stand_in)
        findings.add(
            "surplus", table.name, shown,
            "the record says dead or hidden but the table has the row (it was written while triggers were off)");
      if (record.alive && !in_shadow) findings.add("missing", table.name, shown, "a hidden row has no values");
    }
  }
  REJOIN_ASSIGN(auto count, query_int(ctx.db, "SELECT count(*) FROM " + table.quoted() + " NOT INDEXED"));
  if (count.value_or(0) > visible)
    findings.add(
        "unrecorded", table.name, "",
        std::to_string(*count - visible) + " row(s) have no record (they were written while triggers were off)");
  return {};
}

// SQLite's own check of the file, or of one table.
Status check_integrity(Context& ctx, const std::string& table, Findings& findings) {
  REJOIN_ASSIGN(Statement check, prepare(ctx.db, "PRAGMA main.integrity_check" +
                                                     (table.empty() ? std::string() : "(" + quote(table) + ")")));
  for (;;) {
    REJOIN_ASSIGN(bool row, check.step());
    if (!row) return {};
    if (check.text(0) != "ok") findings.add("sqlite", "", "", std::string(check.text(0)));
  }
}

// What this connection lacks, a function or a collation of the application's, says nothing about the file.
void leave_unchecked(const std::string& table, const Error& why, Findings& findings) {
  findings.add("unchecked", table, "",
               "it could not be looked at here (" + why.message +
                   "); call rejoin_doctor() in the application, which has what it uses");
}

Status check_file(Context& ctx, Findings& findings) {
  Findings whole = findings;
  const Status checked = check_integrity(ctx, "", whole);
  if (checked.ok() || checked.error().code != Code::internal) {
    findings = std::move(whole);
    return checked;
  }
  // The table that it stops at is not named: the others are checked one by one.
  std::vector<std::string> tables;
  {
    REJOIN_ASSIGN(
        Statement names,
        prepare(ctx.db, "SELECT name FROM main.sqlite_schema WHERE type='table' AND rootpage>0 ORDER BY name"));
    for (;;) {
      REJOIN_ASSIGN(const bool row, names.step());
      if (!row) break;
      tables.emplace_back(names.text(0));
    }
  }
  for (const std::string& table : tables) {
    const Status one = check_integrity(ctx, table, findings);
    if (one.ok()) continue;
    if (one.error().code != Code::internal) return one;
    leave_unchecked(table, one.error(), findings);
  }
  return {};
}

}  // namespace

Result<std::string> doctor(Context& ctx) {
  Findings findings;
  REJOIN_TRY(check_file(ctx, findings));
  {
    // Without these nothing can be folded, and nothing else be told.
    const size_t before = findings.count;
    REJOIN_ASSIGN(Work work, Work::read(ctx));
    for (const auto& table : ctx.catalog.tables) REJOIN_TRY(check_metadata(ctx, *table, findings));
    REJOIN_TRY(work.commit());
    if (findings.count > before) return "[" + findings.json + "]";
  }
  REJOIN_ASSIGN(Work work, begin_look(ctx, Freshness::of_now));
  for (const auto& table : ctx.catalog.tables) {
    const Status checked = check_table(ctx, *table, findings);
    if (checked.ok()) continue;
    if (checked.error().code != Code::internal) return checked.error();
    leave_unchecked(table->name, checked.error(), findings);
  }
  REJOIN_ASSIGN(const std::vector<EndedTable> ended, ended_tables(ctx));
  for (const EndedTable& table : ended) findings.add("not_synced", table.name, "", table.message);
  REJOIN_TRY(work.commit());
  if (findings.count > kMostFindings)
    findings.json += ",{\"kind\":\"more\",\"table\":\"\",\"message\":\"" +
                     std::to_string(findings.count - kMostFindings) + " further findings\"}";
  return "[" + findings.json + "]";
}

}  // namespace rejoin::sqlite
