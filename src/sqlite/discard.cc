#include "sqlite/discard.h"

#include <algorithm>

#include "sqlite/enforcement.h"
#include "sqlite/explain.h"
#include "sqlite/feed.h"
#include "sqlite/fold.h"
#include "sqlite/merge.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {
namespace {

bool same(crdt::Stamp a, crdt::Stamp b) { return !a.bottom() && a == b; }

struct Listed {
  std::string table;
  Bytes key, versions, told;
};

Result<std::vector<Listed>> listed(Context& ctx, const std::string& table, const Bytes* key) {
  std::vector<Listed> out;
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT table_name, k, versions, told FROM main.rejoin_rejections WHERE "
                                             "?1 IS NULL OR (table_name=?1 AND k=?2) ORDER BY table_name, k"));
  Use use(*s);
  if (key) {
    s->bind_text(1, table);
    s->bind_blob(2, *key);
  } else {
    s->bind_null(1);
    s->bind_null(2);
  }
  for (;;) {
    REJOIN_ASSIGN(bool row, s->step("reading the rejections"));
    if (!row) return out;
    out.push_back({Bytes(s->text(0)), Bytes(s->blob(1)), Bytes(s->blob(2)), Bytes(s->blob(3))});
  }
}

Status store_discarded(Context& ctx, std::string_view table, BytesView key, const crdt::RowRecord& record) {
  Bytes versions;
  crdt::encode_record(record, versions);
  REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT OR REPLACE INTO main.rejoin_discarded(table_name, k, versions) "
                                             "VALUES(?1, ?2, ?3)"));
  Use use(*s);
  s->bind_text(1, table);
  s->bind_blob(2, key);
  s->bind_blob(3, versions);
  return s->run("remembering what was discarded");
}

Status remember(Context& ctx, const Listed& row) {
  crdt::RowRecord all;
  if (!crdt::decode_record(row.versions, ctx.sites.size(), all)) return {};
  // What the server has was not refused.
  REJOIN_ASSIGN(std::optional<Told> told, read_told(ctx, row.told));
  if (const Table* table = ctx.catalog.find(row.table); told && table)
    all = without_versions(all, state_of(*table, told->row).record, ctx.sites);
  if (all == crdt::RowRecord()) return {};
  // Beside what was taken back of it before.
  REJOIN_ASSIGN(auto before, discarded_versions(ctx, row.table, row.key));
  if (before) {
    crdt::JoinOutcome outcome;
    crdt::join(all, *before, ctx.sites, outcome);
  }
  return store_discarded(ctx, row.table, row.key, all);
}

crdt::ColumnSet all_columns(const Table& table) {
  crdt::ColumnSet out;
  for (uint32_t c = 0; c < table.columns.size(); ++c) out.add(c);
  return out;
}

// What of a row was written here and is not sent yet.
Result<std::optional<Touch>> unsent(Work& work, const Table& table, BytesView key) {
  Context& ctx = work.ctx();
  FeedRequest request;
  REJOIN_ASSIGN(request.up_to, log_tail(ctx));
  request.local_only = true;
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT coalesce(min(pushed), 0) FROM main.rejoin_peer WHERE url NOT GLOB "
                                "'replica:*' AND chain_token IS NOT NULL"));
    Use use(*s);
    REJOIN_TRY(s->step("reading what is pushed"));
    request.after = s->integer(0);
  }
  REJOIN_ASSIGN(Feed feed, read_feed(ctx, work.state, request));
  for (const TableTouches& t : feed.tables)
    for (const Touch& touch : t.touches)
      if (t.table == &table && t.key(touch) == key) return std::optional(touch);
  return std::optional<Touch>();
}

// The row becomes what it would be without the refused versions, joined with what the server has.
Status take_back(Work& work, Merge& merge, const Table& table, const Listed& row) {
  Context& ctx = work.ctx();
  crdt::RowRecord versions;
  if (!crdt::decode_record(row.versions, ctx.sites.size(), versions)) return {};
  REJOIN_ASSIGN(RowState mine, read_row_state(ctx, table, row.key));
  REJOIN_ASSIGN(std::optional<Told> told, read_told(ctx, row.told));
  // A row that the server has none of leaves, also when others' writes have taken the refused ones' place.
  const bool leaves = told && !told->row;
  if (!mine.known || (!leaves && !shares_versions(mine.record, versions))) return {};
  const RowState server = told ? state_of(table, told->row) : RowState();

  RowState now;
  now.record = without_versions(mine.record, versions, ctx.sites);
  now.record.hidden = false;
  if (leaves) {
    // Nothing of the row is for this device, but what it is going to send.
    REJOIN_ASSIGN(std::optional<Touch> newer, unsent(work, table, row.key));
    now.record = newer ? crdt::restrict_record(now.record, newer->whole ? all_columns(table) : newer->columns,
                                               newer->life || newer->whole)
                       : crdt::RowRecord();
  }
  crdt::JoinOutcome outcome;
  crdt::join(now.record, server.record, ctx.sites, outcome);
  // A row that the server has forgotten is not whole here any more: what the refused writes replaced is nowhere.
  if (told && told->row && !now.record.alive && server.record.birth.bottom()) now.record.birth = {};
  for (uint32_t c = 0; c < table.columns.size(); ++c) {
    const crdt::Stamp stamp = now.record.stamp_of(c);
    if (stamp.bottom()) continue;
    // A dead row's values may have been kept there only.
    for (const RowState* from : {&server, static_cast<const RowState*>(&mine)})
      if (auto value = from->values.find(c); value != from->values.end() && from->record.stamp_of(c) == stamp) {
        now.values[c] = value->second;
        break;
      }
  }
  REJOIN_TRY(erase_row(ctx, table, row.key));
  REJOIN_TRY(merge.left(table, row.key));
  const codec::OneRow one = one_row(table, row.key, now);
  crdt::SiteId source = ctx.sites[work.state.site];
  if (told) source = told->source;
  const Bytes frame = codec::encode_row_frame(source, ctx.sites, &one);
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame));
  REJOIN_TRY(merge.frame(reader));
  if (told) return {};
  // The server did not say what it has: everything is pulled anew, what this device wrote itself included.
  return exec(
      ctx.db,
      "UPDATE main.rejoin_peer SET pull_cursor=NULL, pull_all=1 WHERE url NOT GLOB 'replica:*' AND (chain_token "
      "NOT NULL OR pull_cursor NOT NULL OR site NOT NULL)");
}

// An older build did not note what was refused: all that could be pushed was.
Status complete_versions(Work& work, Listed& row) {
  const Table* table = work.ctx().catalog.find(row.table);
  if (!row.versions.empty() || !table) return {};
  REJOIN_ASSIGN(RowState mine, read_row_state(work.ctx(), *table, row.key));
  crdt::RowRecord versions = crdt::part_of_site(mine.record, work.state.site);
  versions.hidden = false;
  crdt::encode_record(versions, row.versions);
  return {};
}

Result<int64_t> discard_rows(Context& ctx, Work& work, std::vector<Listed> rows) {
  for (Listed& row : rows) REJOIN_TRY(complete_versions(work, row));
  // Until the merge is over: a row that is replaced leaves and comes without the application's triggers.
  EnforcementOff off(ctx.db, true);
  ApplyOptions options;
  options.referee = true;
  Merge merge(work, options);
  for (const Listed& row : rows) {
    if (const Table* table = ctx.catalog.find(row.table)) REJOIN_TRY(take_back(work, merge, *table, row));
    REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM main.rejoin_rejections WHERE table_name=?1 AND k=?2"));
    Use use(*s);
    s->bind_text(1, row.table);
    s->bind_blob(2, row.key);
    REJOIN_TRY(s->run("forgetting a rejection"));
  }
  REJOIN_TRY(merge.finish());
  // Only now: the merge above leaves out what is discarded.
  for (const Listed& row : rows) REJOIN_TRY(remember(ctx, row));
  return static_cast<int64_t>(rows.size());
}

}  // namespace

Result<bool> discard(Context& ctx, const std::string& name, const std::vector<crdt::ValueRef>& key_values) {
  REJOIN_ASSIGN(Work work, Work::write(ctx));
  REJOIN_TRY(fold(work));
  REJOIN_ASSIGN(Table * table, tracked_table(ctx, name));
  REJOIN_ASSIGN(Bytes key, stored_key(ctx, *table, key_values));
  REJOIN_ASSIGN(std::vector<Listed> rows, listed(ctx, table->name, &key));
  REJOIN_ASSIGN(int64_t count, discard_rows(ctx, work, std::move(rows)));
  REJOIN_TRY(work.commit());
  return count > 0;
}

Result<int64_t> discard_all(Context& ctx) {
  REJOIN_ASSIGN(Work work, Work::write(ctx));
  REJOIN_TRY(fold(work));
  REJOIN_ASSIGN(std::vector<Listed> rows, listed(ctx, "", nullptr));
  REJOIN_ASSIGN(int64_t count, discard_rows(ctx, work, std::move(rows)));
  REJOIN_TRY(work.commit());
  return count;
}

bool shares_versions(const crdt::RowRecord& one, const crdt::RowRecord& other) {
  if (same(one.live, other.live) || same(one.birth, other.birth)) return true;
  for (const crdt::CellGroup& a : one.groups)
    for (const crdt::CellGroup& b : other.groups) {
      crdt::ColumnSet both = a.columns;
      both &= b.columns;
      if (a.stamp == b.stamp && !both.empty()) return true;
    }
  return false;
}

crdt::RowRecord without_versions(const crdt::RowRecord& record, const crdt::RowRecord& versions,
                                 const crdt::SiteTable& sites) {
  crdt::RowRecord out = record;
  if (same(record.live, versions.live)) out.alive = false, out.live = {};
  if (same(record.birth, versions.birth)) out.birth = {};
  for (const crdt::CellGroup& group : versions.groups) {
    crdt::ColumnSet gone;
    group.columns.each([&](uint32_t c) {
      if (record.stamp_of(c) == group.stamp) gone.add(c);
    });
    if (!gone.empty()) out.write(gone, {});
  }
  crdt::canonicalise(out, sites);
  return out;
}

Result<bool> has_discarded(Context& ctx) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_discarded LIMIT 1"));
  Use use(*s);
  return s->step("looking for what was discarded");
}

Result<std::optional<crdt::RowRecord>> discarded_versions(Context& ctx, std::string_view table, BytesView key) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT versions FROM main.rejoin_discarded WHERE table_name=?1 AND k=?2"));
  Use use(*s);
  s->bind_text(1, table);
  s->bind_blob(2, key);
  REJOIN_ASSIGN(bool row, s->step("looking for what was discarded"));
  crdt::RowRecord versions;
  if (!row || !crdt::decode_record(s->blob(0), ctx.sites.size(), versions)) return std::optional<crdt::RowRecord>();
  return std::optional(std::move(versions));
}

Status forget_discarded(Context& ctx, std::string_view table, BytesView key, const crdt::RowRecord& discarded,
                        const crdt::RowRecord& servers) {
  const auto has = [&](crdt::Stamp theirs, crdt::Stamp s) {
    return !theirs.bottom() && crdt::compare(theirs, s, ctx.sites) >= 0;
  };
  crdt::RowRecord rest = discarded;
  if (has(servers.live, rest.live)) rest.alive = false, rest.live = {};
  if (has(servers.birth, rest.birth)) rest.birth = {};
  for (const crdt::CellGroup& group : discarded.groups) {
    crdt::ColumnSet gone;
    group.columns.each([&](uint32_t c) {
      const crdt::Stamp cell = servers.stamp_of(c);
      // A cell below the birth is nothing; one of the birth's own version came with it.
      if (has(cell, group.stamp) || (has(servers.birth, group.stamp) && servers.birth != group.stamp)) gone.add(c);
    });
    if (!gone.empty()) rest.write(gone, {});
  }
  crdt::canonicalise(rest, ctx.sites);
  if (rest == discarded) return {};
  if (!(rest == crdt::RowRecord())) return store_discarded(ctx, table, key, rest);
  REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM main.rejoin_discarded WHERE table_name=?1 AND k=?2"));
  Use use(*s);
  s->bind_text(1, table);
  s->bind_blob(2, key);
  return s->run("forgetting what was discarded");
}

Status settle_discarded(Work& work, BytesView frame, const std::vector<sync::RefusedRow>& refused) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(bool any, has_discarded(ctx));
  if (!any) return {};
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame));
  REJOIN_ASSIGN(std::vector<uint32_t> sites, site_map(ctx, reader));
  bool taken = false;
  for (size_t b = 0; b < reader.blocks().size(); ++b) {
    const codec::WireTable& wire = reader.tables()[reader.blocks()[b].table];
    const Table* table = ctx.catalog.find(wire.name);
    if (!table) continue;
    const std::vector<uint32_t> columns = column_map(*table, wire);
    codec::BlockCursor cursor = reader.rows(b, sites, columns);
    while (cursor.next()) {
      REJOIN_ASSIGN(auto versions, discarded_versions(ctx, table->name, cursor.key()));
      if (!versions) continue;
      if (std::any_of(refused.begin(), refused.end(),
                      [&](const sync::RefusedRow& row) { return row.table == wire.name && row.key == cursor.key(); }))
        continue;
      REJOIN_TRY(forget_discarded(ctx, table->name, cursor.key(), *versions, cursor.record()));
      taken |= shares_versions(cursor.record(), *versions);
    }
  }
  if (!taken) return {};
  // Rows that are still discarded are left out by the merge.
  REJOIN_TRY(fold(work));
  ApplyOptions options;
  options.origin = ctx.sites[work.state.site];
  Merge merge(work, options);
  REJOIN_TRY(merge.frame(reader));
  return merge.finish();
}

}  // namespace rejoin::sqlite
