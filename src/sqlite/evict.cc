#include "sqlite/evict.h"

#include <algorithm>
#include <map>
#include <set>

#include "crdt/admission.h"
#include "crdt/key.h"
#include "sqlite/base_writer.h"
#include "sqlite/enforcement.h"
#include "sqlite/feed.h"
#include "sqlite/fold.h"
#include "sqlite/horizon.h"
#include "sqlite/identity.h"
#include "sqlite/key_reader.h"
#include "sqlite/layout.h"
#include "sqlite/out_of_reach.h"
#include "sqlite/parked.h"
#include "sqlite/rejections.h"
#include "sqlite/row_state.h"
#include "sqlite/visibility.h"

namespace rejoin::sqlite {
namespace {

Result<bool> any_waits(Context& ctx) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_evicted LIMIT 1"));
  Use use(*s);
  return s->step("looking for rows that are to leave");
}

Status on_row(Context& ctx, const char* sql, std::string_view table, BytesView key) {
  REJOIN_ASSIGN(Statement * s, ctx.statement(sql));
  Use use(*s);
  s->bind_text(1, table);
  s->bind_blob(2, key);
  return s->run("noting a row that is to leave");
}

constexpr const char* kForget = "DELETE FROM main.rejoin_evicted WHERE table_name=?1 AND k=?2";
constexpr const char* kNote =
    "INSERT INTO main.rejoin_evicted(table_name, k) VALUES(?1, ?2) ON CONFLICT DO UPDATE SET horizon=0 WHERE horizon<0";

// What was written here and is folded, from a log position on.
Result<Feed> unsent_writes(Work& work, int64_t pushed) {
  FeedRequest request;
  request.after = pushed;
  request.up_to = work.state.folded;
  request.local_only = true;
  return read_feed(work.ctx(), work.state, request);
}

// A log position that no reader has reached.
Result<int64_t> new_position(Work& work) {
  Context& ctx = work.ctx();
  REJOIN_TRY(exec(ctx.db, "INSERT INTO main.rejoin_log(tbl, op) VALUES(0, " + std::to_string(kBlank) + ")"));
  REJOIN_TRY(fold(work));
  return log_tail(ctx);
}

// Is the row another than one whose deletion was forgotten? An edit alone does not tell: whoever made it did not know
// of the deletion, and it may have reached the server by another way, where nothing else of the row is known.
bool outlives(const crdt::RowRecord& record, crdt::Hlc horizon) {
  return (record.alive ? std::max(record.live.hlc, record.birth.hlc) : crdt::newest_stamp(record)) > horizon;
}

// Every row that may have been forgotten.
Status note_old_rows(Context& ctx, const Table& table, crdt::Hlc horizon) {
  {
    // What is to be written anew (sqlite/anew.h) must come again first.
    REJOIN_ASSIGN(Statement * held,
                  ctx.statement("UPDATE main.rejoin_evicted SET horizon=-1-?2 WHERE table_name=?1 AND "
                                "horizon=-1"));
    Use use(*held);
    held->bind_text(1, table.name);
    held->bind(2, static_cast<int64_t>(horizon));
    REJOIN_TRY(held->run("noting rows that are to leave"));
  }
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT k, rec FROM " + table.records()));
  REJOIN_ASSIGN(Statement * add, ctx.statement("INSERT OR IGNORE INTO main.rejoin_evicted(table_name, k, horizon) "
                                               "VALUES(?1, ?2, ?3)"));
  Use use(*s);
  crdt::RowRecord record;
  for (;;) {
    REJOIN_ASSIGN(bool row, s->step("reading records"));
    if (!row) return {};
    if (!crdt::decode_record(s->blob(1), ctx.sites.size(), record) || outlives(record, horizon)) continue;
    Use use_add(*add);
    add->bind_text(1, table.name);
    add->bind_blob(2, s->blob(0));
    add->bind(3, static_cast<int64_t>(horizon));
    REJOIN_TRY(add->run("noting rows that are to leave"));
  }
}

// One that was noted for its age, and was inserted or restored since: it stays.
Result<bool> stays(Context& ctx, const Table& table, BytesView key, crdt::Hlc horizon) {
  if (horizon == 0) return false;
  REJOIN_ASSIGN(RecordReader records, RecordReader::open(ctx, table));
  REJOIN_ASSIGN(BytesView stored, records.find(key));
  crdt::RowRecord record;
  return stored.data() && crdt::decode_record(stored, ctx.sites.size(), record) && outlives(record, horizon);
}

// What this replica wrote of it above the horizon: nothing that the deletion had met.
Result<crdt::RowRecord> own_since(Context& ctx, const Table& table, BytesView key, crdt::Hlc horizon,
                                  const std::vector<uint32_t>& own) {
  crdt::RowRecord record, out;
  if (horizon == 0) return out;
  REJOIN_ASSIGN(RecordReader records, RecordReader::open(ctx, table));
  REJOIN_ASSIGN(BytesView stored, records.find(key));
  if (!stored.data() || !crdt::decode_record(stored, ctx.sites.size(), record) || !record.alive) return out;
  for (const crdt::CellGroup& g : crdt::part_of_sites(record, own).groups)
    if (g.stamp.hlc > horizon) out.groups.push_back(g);
  return out;
}

}  // namespace

Status note_evicted(Work& work, const std::vector<sync::EvictedRows>& evicted, bool server, int64_t pushed) {
  Context& ctx = work.ctx();
  int64_t position = 0;
  for (const sync::EvictedRows& rows : evicted) {
    const Table* table = ctx.catalog.find_named(rows.table);
    if (!table) continue;
    if (rows.horizon != 0) {
      if (!server) continue;
      if (position == 0) {
        REJOIN_ASSIGN(position, new_position(work));
      }
      REJOIN_TRY(note_old_rows(ctx, *table, rows.horizon));
      // What leaves is forgotten here too, for whoever reads this replica.
      REJOIN_TRY(raise_horizon(ctx, std::min(rows.horizon, work.state.last), position));
      REJOIN_TRY(exec(ctx.db, "UPDATE main.rejoin_device SET acknowledged=-1"));
      continue;
    }
    if (rows.all) {
      REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT INTO main.rejoin_evicted(table_name, k) SELECT ?1, k FROM " +
                                                 table->records() +
                                                 " WHERE true ON CONFLICT DO UPDATE SET horizon=0 WHERE horizon<0"));
      Use use(*s);
      s->bind_text(1, table->name);
      REJOIN_TRY(s->run("noting rows that are to leave"));
      // Those that the server has not heard of it cannot have meant. Who may see them is told when it has.
      REJOIN_ASSIGN(const Feed feed, unsent_writes(work, pushed));
      for (const TableTouches& t : feed.tables)
        for (const Touch& touch : t.touches)
          if (t.table == table && touch.born) REJOIN_TRY(on_row(ctx, kForget, table->name, t.key(touch)));
    }
    for (const Bytes& key : rows.keys) REJOIN_TRY(on_row(ctx, kNote, table->name, key));
  }
  return {};
}

Status note_forgotten(Work& work, const std::vector<std::pair<const Table*, Bytes>>& rows, crdt::Hlc horizon) {
  if (rows.empty()) return {};
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const int64_t position, new_position(work));
  for (const auto& [table, key] : rows) {
    REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT OR IGNORE INTO main.rejoin_evicted(table_name, k, horizon) "
                                               "VALUES(?1, ?2, ?3)"));
    Use use(*s);
    s->bind_text(1, table->name);
    s->bind_blob(2, key);
    s->bind(3, static_cast<int64_t>(horizon));
    REJOIN_TRY(s->run("noting rows that are to leave"));
  }
  REJOIN_TRY(raise_horizon(ctx, std::min(horizon, work.state.last), position));
  return exec(ctx.db, "UPDATE main.rejoin_device SET acknowledged=-1");
}

Status keep_what_came_back(Context& ctx, BytesView frame) {
  REJOIN_ASSIGN(bool any, any_waits(ctx));
  if (!any || frame.empty()) return {};
  REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame));
  std::vector<uint32_t> sites(reader.sites().size(), 0);
  for (size_t b = 0; b < reader.blocks().size(); ++b) {
    const codec::WireTable& wire = reader.tables()[reader.blocks()[b].table];
    const Table* table = ctx.catalog.find_named(wire.name);
    if (!table) continue;
    const std::vector<uint32_t> columns(wire.columns.size(), codec::kNoColumn);
    codec::BlockCursor cursor = reader.rows(b, sites, columns);
    while (cursor.next()) {
      if (!cursor.record().alive) {
        // Others' edits do not say that there is a row.
        REJOIN_TRY(on_row(ctx, "DELETE FROM main.rejoin_evicted WHERE table_name=?1 AND k=?2 AND horizon=0",
                          table->name, cursor.key()));
        continue;
      }
      REJOIN_TRY(on_row(ctx, "UPDATE main.rejoin_evicted SET horizon=-1 WHERE table_name=?1 AND k=?2 AND horizon<-1",
                        table->name, cursor.key()));
      REJOIN_TRY(on_row(ctx, "DELETE FROM main.rejoin_evicted WHERE table_name=?1 AND k=?2 AND horizon<>-1",
                        table->name, cursor.key()));
    }
  }
  return {};
}

Status keep_own_rows(Work& work) {
  Context& ctx = work.ctx();
  std::map<std::string, std::vector<Bytes>> noted;
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT table_name, k FROM main.rejoin_evicted WHERE horizon=0"));
    Use use(*s);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading rows that are to leave"));
      if (!row) break;
      noted[std::string(s->text(0))].emplace_back(s->blob(1));
    }
  }
  if (noted.empty()) return {};
  REJOIN_ASSIGN(const std::vector<uint32_t> own, own_sites(work));
  crdt::RowRecord record;
  for (const auto& [name, keys] : noted) {
    const Table* table = ctx.catalog.find(name);
    if (!table) continue;
    REJOIN_ASSIGN(RecordReader records, RecordReader::open(ctx, *table));
    for (const Bytes& key : keys) {
      REJOIN_ASSIGN(BytesView stored, records.find(key));
      if (!stored.data() || !crdt::decode_record(stored, ctx.sites.size(), record)) continue;
      if (crdt::part_of_sites(record, own) == crdt::RowRecord()) continue;
      REJOIN_TRY(on_row(ctx, kForget, name, key));
    }
  }
  return {};
}

Status evict(Work& work, int64_t pushed, BytesView source) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(bool any, any_waits(ctx));
  if (!any) return {};
  {
    // The pages that they came with.
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_staged WHERE source=?1 LIMIT 1"));
    Use use(*s);
    s->bind_blob(1, source);
    REJOIN_ASSIGN(bool staged, s->step("looking for staged pages"));
    if (staged) return {};
  }
  REJOIN_TRY(fold(work));
  REJOIN_ASSIGN(const Feed feed, unsent_writes(work, pushed));
  std::map<std::string, std::set<Bytes>> unsent;
  for (const TableTouches& t : feed.tables)
    for (const Touch& touch : t.touches)
      if (touch.written) unsent[t.table->name].emplace(t.key(touch));

  std::map<std::string, std::vector<std::pair<Bytes, crdt::Hlc>>> leaving;
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT table_name, k, CASE WHEN horizon<0 THEN -1-horizon ELSE horizon END FROM "
                                "main.rejoin_evicted WHERE horizon<>-1 ORDER BY table_name, k"));
    Use use(*s);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading rows that are to leave"));
      if (!row) break;
      leaving[std::string(s->text(0))].emplace_back(s->blob(1), static_cast<crdt::Hlc>(s->integer(2)));
    }
  }
  Visibility visibility(ctx);
  REJOIN_ASSIGN(const std::vector<uint32_t> own, own_sites(work));
  const Bytes none = codec::encode_row_frame(ctx.sites[work.state.site], ctx.sites, nullptr);
  {
    // Once for all rows: it makes SQLite prepare every statement anew.
    EnforcementOff off(ctx.db, true);
    for (const auto& group : leaving) {
      const Table* table = ctx.catalog.find(group.first);
      if (table) {
        // They leave when a connection syncs that can write the table.
        REJOIN_ASSIGN(const std::string* lacks, out_of_reach(ctx, *table));
        if (lacks) continue;
      }
      const std::set<Bytes>& waiting = unsent[group.first];
      std::vector<std::string> names;
      if (table) {
        REJOIN_ASSIGN(names, names_aside(ctx, *table));
      }
      for (const auto& row : group.second) {
        const Bytes& key = row.first;
        if (table && waiting.contains(key)) continue;
        if (table) {
          BaseWriter::Row here;
          Bytes scratch;
          bool may = !crdt::decode_key(key, table->key.size(), here.key, scratch);
          if (!may) {
            REJOIN_ASSIGN(may, BaseWriter(ctx, *table).may_go(here));
          }
          if (!may) {
            REJOIN_TRY(visibility.stays(*table));
            continue;
          }
        }
        REJOIN_TRY(on_row(ctx, kForget, group.first, key));
        if (!table) continue;
        REJOIN_ASSIGN(const bool another, stays(ctx, *table, key, row.second));
        if (another) continue;
        REJOIN_ASSIGN(bool rejected, is_rejected(ctx, table->name, key));
        if (rejected) {
          REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_rejections SET server='null', told=?3 WHERE "
                                                     "table_name=?1 AND k=?2"));
          Use use(*s);
          s->bind_text(1, table->name);
          s->bind_blob(2, key);
          s->bind_blob(3, none);
          REJOIN_TRY(s->run("noting what the server has"));
          continue;
        }
        REJOIN_ASSIGN(const crdt::RowRecord edits, own_since(ctx, *table, key, row.second, own));
        if (!edits.groups.empty()) {
          REJOIN_TRY(note_edits_of_forgotten(ctx, *table, key, edits, row.second, none));
          continue;
        }
        REJOIN_TRY(erase_row(ctx, *table, key));
        REJOIN_TRY(visibility.left(*table, key));
        // Nothing of it stays behind elsewhere.
        for (const std::string& name : names)
          REJOIN_TRY(on_row(ctx, "DELETE FROM main.rejoin_aside WHERE table_name=?1 AND k=?2", name, key));
        REJOIN_TRY(on_row(ctx,
                          "DELETE FROM main.rejoin_lost WHERE tbl=(SELECT id FROM main.rejoin_table WHERE name=?1) AND "
                          "k=?2",
                          table->name, key));
      }
    }
  }
  std::vector<uint64_t> touched;
  for (const auto& group : leaving)
    if (const Table* table = ctx.catalog.find(group.first)) touched.push_back(table->id);
  REJOIN_TRY(visibility.settle(touched));
  return {};
}

}  // namespace rejoin::sqlite
