#include "sqlite/rejections.h"

#include <array>

#include "codec/changeset.h"
#include "codec/merged_list.h"
#include "crdt/admission.h"
#include "crdt/key.h"
#include "sqlite/discard.h"
#include "sqlite/fold.h"
#include "sqlite/identity.h"
#include "sqlite/layout.h"
#include "sqlite/row_json.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {

namespace {

struct Rejection {
  const sync::RefusedRow& row;
  bool held = false;
  crdt::RowRecord versions = {};  // what was refused
};

// What the server has of a row, for people: an object, or null when it has none.
std::string server_json(const std::optional<codec::OneRow>& row) {
  const std::string json = row && row->record.alive ? row_json(*row) : "";
  return json.empty() ? "null" : json;
}

Status note(Context& ctx, const Rejection& rejection) {
  REJOIN_ASSIGN(
      Statement * s,
      ctx.statement("INSERT INTO main.rejoin_rejections(table_name, key, code, reason, at, k, held, server, "
                    "versions, told) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT(table_name, k) DO "
                    "UPDATE SET code=?3, reason=?4, at=?5, held=?7, server=?8, versions=?9, told=?10"));
  const sync::RefusedRow& row = rejection.row;
  std::string now = iso8601(ctx.clock.now_ms()), server;
  Bytes versions;
  crdt::encode_record(rejection.versions, versions);
  REJOIN_ASSIGN(const auto told, read_told_if_whole(ctx, row.server));
  Use use(*s);
  s->bind_text(1, row.table);
  s->bind_text(2, row.key_json);
  s->bind_text(3, code_name(row.code));
  s->bind_text(4, row.reason);
  s->bind_text(5, now);
  s->bind_blob(6, row.key);
  s->bind(7, static_cast<int64_t>(rejection.held));
  s->bind_null(8);
  s->bind_blob(9, versions);
  s->bind_null(10);
  if (told) {
    server = server_json(told->row);
    s->bind_text(8, server);
    s->bind_blob(10, row.server);
  }
  return s->run("noting a rejection");
}

// The versions in a frame of the rows that were refused.
using Versions = std::map<std::pair<std::string, Bytes>, crdt::RowRecord>;
Result<Versions> versions_in(Context& ctx, BytesView frame, const std::vector<sync::RefusedRow>& rows) {
  Versions out;
  for (const auto& row : rows) out[{row.table, row.key}] = {};
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame));
  REJOIN_ASSIGN(std::vector<uint32_t> sites, site_map(ctx, reader));
  for (size_t b = 0; b < reader.blocks().size(); ++b) {
    const codec::WireTable& wire = reader.tables()[reader.blocks()[b].table];
    const Table* table = ctx.catalog.find(wire.name);
    if (!table) continue;
    const std::vector<uint32_t> columns = column_map(*table, wire);
    codec::BlockCursor cursor = reader.rows(b, sites, columns);
    while (cursor.next())
      if (auto it = out.find({wire.name, Bytes(cursor.key())}); it != out.end()) it->second = cursor.record();
  }
  return out;
}

// A value that was kept back before stays so when the rest of its row is refused.
Status join_held(Context& ctx, Rejection& rejection, const crdt::RowRecord& mine) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT versions FROM main.rejoin_rejections WHERE table_name=?1 AND k=?2 "
                                             "AND held"));
  Use use(*s);
  s->bind_text(1, rejection.row.table);
  s->bind_blob(2, rejection.row.key);
  REJOIN_ASSIGN(bool held, s->step("reading a rejection"));
  crdt::RowRecord versions;
  if (!held || !crdt::decode_record(s->blob(0), ctx.sites.size(), versions) || !shares_versions(mine, versions))
    return {};
  rejection.held = true;
  crdt::JoinOutcome outcome;
  crdt::join(rejection.versions, versions, ctx.sites, outcome);
  return {};
}

}  // namespace

Status note_refused(Work& work, const std::vector<sync::RefusedRow>& rows, BytesView frame, const Relayed& relayed) {
  if (rows.empty()) return {};
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(Versions versions, versions_in(ctx, frame, rows));
  const std::array<uint32_t, 2> pushed{work.state.site, relayed.site.value_or(work.state.site)};
  for (const sync::RefusedRow& row : rows) {
    Rejection rejection{row};
    if (const Table* table = ctx.catalog.find(row.table)) {
      REJOIN_ASSIGN(RowState mine, read_row_state(ctx, *table, row.key));
      rejection.versions = versions[{row.table, row.key}];
      // It came in an earlier chunk of the transaction: all that could be pushed was.
      if (rejection.versions == crdt::RowRecord())
        rejection.versions = relayed.all ? mine.record : crdt::part_of_sites(mine.record, pushed);
      const bool of_server = relayed.site && crdt::only_of_site(rejection.versions, *relayed.site);
      const bool lost = relayed.lost_since && crdt::newest_stamp(mine.record) > *relayed.lost_since;
      if (of_server && (row.code == Code::forbidden || (row.code == Code::before_horizon && !lost))) continue;
      rejection.versions.hidden = false;
      if (!shares_versions(mine.record, rejection.versions)) continue;
      REJOIN_TRY(join_held(ctx, rejection, mine.record));
    }
    REJOIN_TRY(note(ctx, rejection));
  }
  return {};
}

Status note_held(Work& work, const std::vector<sync::RefusedRow>& rows, uint64_t max_value_bytes) {
  Context& ctx = work.ctx();
  for (const sync::RefusedRow& row : rows) {
    Rejection rejection{row, true};
    if (const Table* table = ctx.catalog.find(row.table)) {
      REJOIN_ASSIGN(RowState mine, read_row_state(ctx, *table, row.key));
      crdt::ColumnSet large;
      for (const auto& [c, value] : mine.values)
        if (value.bytes.size() > max_value_bytes) large.add(c);
      rejection.versions = crdt::restrict_record(mine.record, large, false);
    }
    REJOIN_TRY(note(ctx, rejection));
  }
  return {};
}

Status note_not_taken(Context& ctx, const std::vector<sync::RefusedRow>& rows) {
  for (const sync::RefusedRow& row : rows) REJOIN_TRY(note(ctx, Rejection{row}));
  return {};
}

Status note_edits_of_forgotten(Context& ctx, const Table& table, BytesView key, const crdt::RowRecord& edits,
                               crdt::Hlc horizon, const Bytes& none) {
  const sync::RefusedRow row{table.name,
                             Bytes(key),
                             crdt::key_json(key, table.key.size()),
                             Code::before_horizon,
                             crdt::before_horizon(horizon),
                             none};
  return note(ctx, Rejection{row, false, edits});
}

Result<Bytes> told_frame(Context& ctx, const Table& table, BytesView key) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT told FROM main.rejoin_rejections WHERE table_name=?1 AND k=?2"));
  Use use(*s);
  s->bind_text(1, table.name);
  s->bind_blob(2, key);
  REJOIN_ASSIGN(bool row, s->step("reading a rejection"));
  return row ? Bytes(s->blob(0)) : Bytes();
}

Status follow_server(Context& ctx, const Table& table, BytesView key, const crdt::RowRecord& news,
                     const std::map<uint32_t, crdt::ValueRef>& values) {
  REJOIN_ASSIGN(Bytes told, told_frame(ctx, table, key));
  if (told.empty()) return {};
  REJOIN_ASSIGN(std::optional<Told> server, read_told(ctx, told));
  RowState state = server ? state_of(table, server->row) : RowState();
  crdt::JoinOutcome outcome;
  crdt::join(state.record, news, ctx.sites, outcome);
  if (!server || !outcome.changed()) return {};
  for (const auto& [c, value] : values)
    if (outcome.won.has(c)) state.values[c] = OwnedValue::of(value);
  outcome.dropped.each([&](uint32_t c) { state.values.erase(c); });
  const std::optional<codec::OneRow> now = one_row(table, key, state);
  told = codec::encode_row_frame(server->source, ctx.sites, &*now);
  const std::string json = server_json(now);
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("UPDATE main.rejoin_rejections SET server=?3, told=?4 WHERE table_name=?1 AND k=?2"));
  Use use(*s);
  s->bind_text(1, table.name);
  s->bind_blob(2, key);
  s->bind_text(3, json);
  s->bind_blob(4, told);
  return s->run("noting what the server has");
}

Result<bool> has_rejections(Context& ctx) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_rejections LIMIT 1"));
  Use use(*s);
  return s->step("looking for rejections");
}

Result<bool> is_rejected(Context& ctx, std::string_view table, BytesView key) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_rejections WHERE table_name=?1 AND k=?2"));
  Use use(*s);
  s->bind_text(1, table);
  s->bind_blob(2, key);
  return s->step("looking for a rejection");
}

Result<std::optional<crdt::RowRecord>> refused_versions(Context& ctx, std::string_view table, BytesView key) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT versions, held FROM main.rejoin_rejections WHERE table_name=?1 AND k=?2"));
  Use use(*s);
  s->bind_text(1, table);
  s->bind_blob(2, key);
  REJOIN_ASSIGN(bool row, s->step("reading a rejection"));
  if (!row) return std::optional<crdt::RowRecord>();
  crdt::RowRecord versions;
  if (s->integer(1) != 0 || !crdt::decode_record(s->blob(0), ctx.sites.size(), versions)) versions = {};
  return std::optional(std::move(versions));
}

Status release_rejection(Context& ctx, std::string_view table, BytesView key) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_rejections SET held=0 WHERE table_name=?1 AND k=?2"));
  Use use(*s);
  s->bind_text(1, table);
  s->bind_blob(2, key);
  return s->run("releasing a rejection");
}

Status forget_rejections(Context& ctx, BytesView frame) {
  REJOIN_ASSIGN(bool any, has_rejections(ctx));
  if (!any) return {};
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame));
  std::vector<uint32_t> sites(reader.sites().size());
  for (uint32_t i = 0; i < sites.size(); ++i) sites[i] = i;
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("DELETE FROM main.rejoin_rejections WHERE table_name=?1 AND k=?2 AND NOT held AND (?3 OR "
                              "code<>'before_horizon' OR coalesce(server, 'null')<>'null')"));
  // The server has more of the row now than it said.
  REJOIN_ASSIGN(Statement * held, ctx.statement("UPDATE main.rejoin_rejections SET server=NULL, told=NULL WHERE "
                                                "table_name=?1 AND k=?2 AND held"));
  for (size_t b = 0; b < reader.blocks().size(); ++b) {
    const codec::WireTable& table = reader.tables()[reader.blocks()[b].table];
    std::vector<uint32_t> columns(table.columns.size());
    for (uint32_t i = 0; i < columns.size(); ++i) columns[i] = i;
    codec::BlockCursor cursor = reader.rows(b, sites, columns);
    while (cursor.next())
      for (Statement* each : {s, held}) {
        Use use(*each);
        each->bind_text(1, table.name);
        each->bind_blob(2, cursor.key());
        // Edits that are taken of a row that is gone there don't bring it back.
        if (each == s) each->bind(3, static_cast<int64_t>(!cursor.record().live.bottom()));
        REJOIN_TRY(each->run("forgetting a rejection"));
      }
  }
  return {};
}

namespace {

constexpr int64_t kRetryAfterMs = 10 * 60 * 1000;

// Those that were refused, or tried again, before `before`.
Result<int64_t> retry_older(Work& work, const std::string& which, const std::string& before) {
  Context& ctx = work.ctx();
  constexpr uint64_t kRowsPerEntry = 1'024;
  int64_t rows = 0;
  for (const auto& table : ctx.catalog.tables) {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT k FROM main.rejoin_rejections WHERE table_name=?1 AND at<?2 AND " + which +
                                " ORDER BY k"));
    Use use(*s);
    s->bind_text(1, table->name);
    s->bind_text(2, before);
    codec::MergedListWriter list;
    auto flush = [&]() -> Status {
      if (list.empty()) return {};
      Bytes blob = list.finish();
      REJOIN_ASSIGN(Statement * log,
                    ctx.statement("INSERT INTO main.rejoin_log(tbl, op, bits, k0) VALUES(?1, ?2, ?3, ?4)"));
      Use use_log(*log);
      log->bind(1, static_cast<int64_t>(table->id));
      log->bind(2, static_cast<int64_t>(kMerged));
      log->bind(3, static_cast<int64_t>(work.state.site));
      log->bind_blob(4, blob);
      return log->run("logging rows that were refused");
    };
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading the rejections"));
      if (!row) break;
      list.add(s->blob(0), true, true, {});
      ++rows;
      if (list.rows() >= kRowsPerEntry) REJOIN_TRY(flush());
    }
    REJOIN_TRY(flush());
  }
  if (rows == 0) return rows;
  REJOIN_ASSIGN(Statement * tried, ctx.statement("UPDATE main.rejoin_rejections SET at=?1 WHERE at<?2 AND " + which));
  {
    Use use(*tried);
    const std::string now = iso8601(ctx.clock.now_ms());
    tried->bind_text(1, now);
    tried->bind_text(2, before);
    REJOIN_TRY(tried->run("trying refused rows again"));
  }
  REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
  work.state.folded = std::max(work.state.folded, tail);
  REJOIN_TRY(end_batch(ctx, tail, work.state.site));
  return rows;
}

}  // namespace

Result<int64_t> retry_rejections(Work& work) {
  REJOIN_TRY(take_over_refused(work));
  return retry_older(work, "true", "~");
}

Result<int64_t> retry_due_rejections(Work& work) {
  REJOIN_ASSIGN(bool any, has_rejections(work.ctx()));
  if (!any) return int64_t{0};
  return retry_older(work, "code='refused'", iso8601(work.ctx().clock.now_ms() - kRetryAfterMs));
}

}  // namespace rejoin::sqlite
