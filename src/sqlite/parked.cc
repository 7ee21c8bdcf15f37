#include "sqlite/parked.h"

#include "codec/changeset.h"
#include "crdt/key.h"
#include "sqlite/fold.h"
#include "sqlite/merge.h"
#include "sqlite/out_of_reach.h"
#include "sqlite/pass_on.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {
namespace {

Status insert_parked(Context& ctx, const std::string& table, BytesView key, size_t key_columns,
                     const std::string& reason, int64_t due_ms, const Bytes* frame) {
  REJOIN_ASSIGN(
      Statement * s,
      ctx.statement(
          "INSERT INTO main.rejoin_aside(table_name, key, reason, since, due, k, frame) SELECT ?1, ?2, ?3, ?4, ?5, "
          "?6, ?7 "
          "WHERE NOT EXISTS (SELECT 1 FROM main.rejoin_aside WHERE table_name=?1 AND k=?6 AND frame IS ?7)"));
  Use use(*s);
  std::string json = crdt::key_json(key, key_columns);
  s->bind_text(1, table);
  s->bind_text(2, json);
  s->bind_text(3, reason);
  s->bind(4, ctx.clock.now_ms());
  if (due_ms)
    s->bind(5, due_ms);
  else
    s->bind_null(5);
  s->bind_blob(6, key);
  if (frame)
    s->bind_blob(7, *frame);
  else
    s->bind_null(7);
  return s->run("parking a row");
}

// What is joined stays far below what a frame may hold; above it entries wait side by side.
constexpr size_t kMostJoined = 16 << 20;

struct Waiting {
  int64_t id = 0;    // 0: nothing
  bool news = true;  // joined they tell more than what waits
};

// Joins what waits of the row already, for the same cause, with the frame.
Result<Waiting> join_waiting(Context& ctx, const std::string& table, BytesView key, int64_t due_ms, Bytes& frame) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT id, frame FROM main.rejoin_aside INDEXED BY rejoin_parked_key "
                              "WHERE table_name=?1 AND k=?2 AND (due IS ?3 OR ?3 IS NULL AND due=-1) AND frame IS NOT "
                              "NULL"));
  Use use(*s);
  s->bind_text(1, table);
  s->bind_blob(2, key);
  if (due_ms)
    s->bind(3, due_ms);
  else
    s->bind_null(3);
  for (;;) {
    REJOIN_ASSIGN(bool row, s->step("reading a parked change"));
    if (!row) return Waiting{};
    if (s->blob(1).size() + frame.size() > 2 * kMostJoined) continue;
    REJOIN_ASSIGN(auto joined, join_parked(ctx, s->blob(1), frame));
    if (!joined || joined->size() > kMostJoined) continue;  // not joined: the table had another key then
    const Waiting out{s->integer(0), *joined != s->blob(1)};
    frame = std::move(*joined);
    return out;
  }
}

Status replace_parked(Context& ctx, int64_t id, const std::string& reason, BytesView frame) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("UPDATE main.rejoin_aside SET reason=?2, frame=?3, due=nullif(due, -1) WHERE "
                              "id=?1"));
  Use use(*s);
  s->bind(1, id);
  s->bind_text(2, reason);
  s->bind_blob(3, frame);
  return s->run("joining a parked change");
}

// `announced`: they were passed on when they were parked. `admitted`: they waited for their table only.
Status replay(Work& work, const std::vector<int64_t>& ids, bool announced, bool admitted = false) {
  if (ids.empty()) return {};
  Context& ctx = work.ctx();
  REJOIN_TRY(fold(work));
  ApplyOptions options;
  options.announced = announced;
  Merge merge(work, options);
  if (admitted) merge.admit();
  for (int64_t id : ids) {
    Bytes frame;
    {
      REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT frame FROM main.rejoin_aside WHERE id=?1"));
      Use use(*s);
      s->bind(1, id);
      REJOIN_ASSIGN(bool row, s->step("reading a parked change"));
      if (!row) continue;
      frame = s->blob(0);
    }
    auto reader = codec::ChangesetReader::open(frame);
    if (!reader.ok()) continue;  // damaged on disk: it stays, and stops nothing else
    {
      REJOIN_ASSIGN(Statement * s, ctx.statement("DELETE FROM main.rejoin_aside WHERE id=?1"));
      Use use(*s);
      s->bind(1, id);
      REJOIN_TRY(s->run("taking up a parked change"));
    }
    REJOIN_TRY(merge.frame(*reader));
  }
  return merge.finish();
}

}  // namespace

Status park_frame(Context& ctx, const std::string& table, BytesView key, size_t key_columns, const std::string& reason,
                  int64_t due_ms, BytesView frame, bool announced) {
  Bytes copy(frame);
  Waiting waiting;
  if (!due_ms || due_ms == kDueWhenKnown) {
    REJOIN_ASSIGN(waiting, join_waiting(ctx, table, key, due_ms, copy));
  }
  if (!waiting.news) return {};
  const int64_t before = sqlite3_total_changes(ctx.db);
  REJOIN_TRY(waiting.id ? replace_parked(ctx, waiting.id, reason, copy)
                        : insert_parked(ctx, table, key, key_columns, reason, due_ms, &copy));
  // What waits for its time, or for its row, is passed on when it has been merged.
  if (due_ms || announced || sqlite3_total_changes(ctx.db) == before) return {};
  return log_parked(ctx, table, key);
}

Status park_hidden(Context& ctx, const Table& table, BytesView key, const std::string& reason) {
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_aside SET reason=?3 WHERE table_name=?1 AND k=?2 "
                                               "AND frame IS NULL AND reason IS NOT ?3"));
    Use use(*s);
    s->bind_text(1, table.name);
    s->bind_blob(2, key);
    s->bind_text(3, reason);
    REJOIN_TRY(s->run("parking a row"));
    if (sqlite3_changes(ctx.db) > 0) return {};
  }
  return insert_parked(ctx, table.name, key, table.key.size(), reason, 0, nullptr);
}

Status unpark_hidden(Context& ctx, const Table& table, BytesView key) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("DELETE FROM main.rejoin_aside WHERE table_name=?1 AND k=?2 AND frame IS NULL"));
  Use use(*s);
  s->bind_text(1, table.name);
  s->bind_blob(2, key);
  return s->run("unparking a row");
}

Result<std::vector<std::string>> names_aside(Context& ctx, const Table& table) {
  std::vector<std::string> out;
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT DISTINCT table_name FROM main.rejoin_aside"));
  Use use(*s);
  for (;;) {
    REJOIN_ASSIGN(const bool row, s->step("reading what is kept aside"));
    if (!row) return out;
    if (ctx.catalog.find_named(s->text(0)) == &table) out.emplace_back(s->text(0));
  }
}

Result<int64_t> count_hidden(Context& ctx, const Table& table) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT count(*) FROM main.rejoin_aside WHERE table_name=?1 AND frame IS NULL"));
  Use use(*s);
  s->bind_text(1, table.name);
  REJOIN_TRY(s->step("counting hidden rows"));
  return s->integer(0);
}

Status replay_parked(Work& work, const std::string& table) {
  std::vector<int64_t> ids;
  {
    REJOIN_ASSIGN(Statement * s, work.ctx().statement("SELECT id FROM main.rejoin_aside WHERE table_name=?1 COLLATE "
                                                      "NOCASE AND frame IS NOT NULL AND due IS NULL ORDER BY id"));
    Use use(*s);
    s->bind_text(1, table);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step());
      if (!row) break;
      ids.push_back(s->integer(0));
    }
  }
  // They were passed on in changesets as they came. A server that takes others' rows gets none that is kept aside.
  REJOIN_ASSIGN(const auto relays,
                query_int(work.ctx().db, "SELECT 1 FROM main.rejoin_peer WHERE may_relay=1 LIMIT 1"));
  bool admitted = false;
  if (const Table* known = work.ctx().catalog.find_named(table)) {
    REJOIN_ASSIGN(admitted, is_noted_out_of_reach(work.ctx(), known->id));
  }
  return replay(work, ids, !relays, admitted);
}

Status replay_parked_of(Work& work, uint64_t id) {
  const Table* table = work.ctx().catalog.find(id);
  if (!table) return {};
  std::vector<std::string> names = table->former_names;
  names.push_back(table->name);
  for (const std::string& name : names) REJOIN_TRY(replay_parked(work, name));
  return {};
}

Status replay_due(Work& work) {
  std::vector<int64_t> ids;
  {
    REJOIN_ASSIGN(Statement * s, work.ctx().statement("SELECT id FROM main.rejoin_aside INDEXED BY rejoin_parked_due "
                                                      "WHERE due BETWEEN 0 AND ?1 ORDER BY id"));
    Use use(*s);
    s->bind(1, work.ctx().clock.now_ms());
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step());
      if (!row) break;
      ids.push_back(s->integer(0));
    }
  }
  return replay(work, ids, false);
}

Status replay_known(Work& work) {
  Context& ctx = work.ctx();
  std::vector<int64_t> ids;
  {
    REJOIN_ASSIGN(Statement * s,
                  ctx.statement("SELECT id, table_name, k FROM main.rejoin_aside WHERE due=?1 ORDER BY id"));
    Use use(*s);
    s->bind(1, kDueWhenKnown);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading parked changes"));
      if (!row) break;
      const Table* table = ctx.catalog.find_named(s->text(1));
      if (!table) continue;
      REJOIN_ASSIGN(const RowState state, read_row_state(ctx, *table, s->blob(2)));
      if (!state.record.live.bottom()) ids.push_back(s->integer(0));
    }
  }
  return replay(work, ids, false);
}

}  // namespace rejoin::sqlite
