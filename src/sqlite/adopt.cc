#include "sqlite/adopt.h"

#include <algorithm>
#include <set>

#include "sqlite/alter_session.h"
#include "sqlite/columns.h"
#include "sqlite/displaced.h"
#include "sqlite/layout.h"
#include "sqlite/parked.h"
#include "sqlite/track.h"
#include "sqlite/triggers.h"
#include "sqlite/visibility.h"

namespace rejoin::sqlite {
namespace {

Result<bool> may_have_changed(Context& ctx) {
  if (ctx.catalog_checked != ctx.catalog_main) return true;
  for (const auto& t : ctx.catalog.tables)
    if (!t->unannounced.empty()) return true;
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT count(*) FROM main.rejoin_table"));
  Use use(*s);
  REJOIN_TRY(s->step());
  return s->integer(0) != static_cast<int64_t>(ctx.catalog.tables.size());
}

// Tables that are gone or have another name. `changed` gets the ids of those that go on.
Status follow_tables(Work& work, std::set<uint64_t>& changed) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const std::vector<RenamedTable> known, names_by_triggers(ctx));
  std::vector<RenamedTable> renamed;
  for (const RenamedTable& t : known) {
    if (t.to.empty()) {
      // Dropped (and perhaps made again): tracking ended with it.
      ctx.statements.clear();
      ctx.catalog_main = -1;
      REJOIN_TRY(end_tracking(ctx, t.id, t.from, EndedBy::drop));
    } else if (!same_name(t.from, t.to)) {
      renamed.push_back(t);
      changed.insert(t.id);
    }
  }
  if (!renamed.empty()) REJOIN_TRY(rename_tracked(work, renamed));
  return refresh_catalog(ctx);
}

// Columns that have another name, and those that are gone all the same. The key's are known by their places.
Status follow_names(Context& ctx, const Table& t, const CaptureTriggers& triggers, std::set<uint64_t>& changed) {
  const auto has = [&](const std::string& name) {
    const auto is = [&](const Column& c) { return c.present && same_name(c.name, name); };
    const auto same = [&](const std::string& n) { return same_name(n, name); };
    return std::any_of(t.columns.begin(), t.columns.end(), is) ||
           std::any_of(t.unannounced.begin(), t.unannounced.end(), same);
  };
  std::vector<RenamedColumn> renamed;
  std::vector<uint32_t> dropped;
  REJOIN_ASSIGN(const std::vector<std::string> key, key_columns(ctx, shadow_table(t.name)));
  for (size_t i = 0; i < key.size() && key.size() == t.key.size(); ++i)
    if (!same_name(key[i], t.key[i].name)) renamed.push_back({-1 - static_cast<int64_t>(i), key[i], t.key[i].name});
  const std::vector<std::string> now = names_in_triggers(triggers, t);
  for (uint32_t c = 0; c < t.columns.size(); ++c) {
    const std::string& was = t.columns[c].name;
    if (was.empty()) continue;
    const std::string& is = now[c].empty() ? was : now[c];
    if (!has(is))
      dropped.push_back(c);
    else if (!same_name(is, was))
      renamed.push_back({static_cast<int64_t>(c), was, is});
  }
  if (renamed.empty() && dropped.empty()) return {};
  ctx.statements.clear();
  REJOIN_TRY(drop_triggers(ctx.db, t.id));
  for (const uint32_t c : dropped) REJOIN_TRY(drop_column(ctx, t, c));
  REJOIN_TRY(rename_columns(ctx, t, renamed));
  changed.insert(t.id);
  ctx.catalog_main = -1;
  return {};
}

// Whatever differs from the default was written by somebody since the column came: claim it, as of now.
Status claim_columns(Context& ctx, const Table& t, size_t first) {
  std::string keys;
  for (size_t i = 0; i < t.key.size(); ++i) keys += ", k" + std::to_string(i);
  for (size_t c = first; c < t.columns.size(); ++c) {
    const std::string column = quote(t.columns[c].name);
    const size_t chunk = t.columns.size() <= kUpdateChunk ? 0 : c / kUpdateChunk * kUpdateChunk;
    REJOIN_ASSIGN(Statement s, prepare(ctx.db, "INSERT INTO main.rejoin_log(tbl, op, bits, ms" + keys + ") SELECT " +
                                                   std::to_string(t.id) + ", " + std::to_string(kUpdate) + ", " +
                                                   std::to_string(chunk << 8 | 1u << (c - chunk)) +
                                                   ", julianday('now'), " + t.key_list() + " FROM " + t.quoted() +
                                                   " WHERE " + column + " COLLATE BINARY IS NOT ?1"));
    s.bind(1, t.columns[c].default_value.ref());
    REJOIN_TRY(s.run("claiming a new column"));
  }
  return {};
}

// `triggers`: as they were found, before any was made anew: SQLite has put the columns' new names into them.
Status follow_columns(Context& ctx, const CaptureTriggers& triggers, std::set<uint64_t>& changed) {
  for (const auto& t : ctx.catalog.tables) REJOIN_TRY(follow_names(ctx, *t, triggers, changed));
  REJOIN_TRY(refresh_catalog(ctx));
  std::vector<std::pair<uint64_t, size_t>> grown;
  for (const auto& t : ctx.catalog.tables) {
    if (t->unannounced.empty()) continue;
    REJOIN_TRY(add_columns(ctx, *t, t->unannounced));
    grown.emplace_back(t->id, t->columns.size());
    changed.insert(t->id);
  }
  for (const auto& [id, first] : grown) {
    REJOIN_TRY(renew_triggers(ctx, id));
    if (const Table* t = ctx.catalog.find(id)) REJOIN_TRY(claim_columns(ctx, *t, first));
  }
  return {};
}

// UNIQUE indexes may have come or gone, too.
Status follow_triggers(Work& work) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const CaptureTriggers present, capture_triggers(ctx.db));
  std::vector<uint64_t> differ, unlogged;
  for (const auto& t : ctx.catalog.tables) {
    if (has_triggers(present, *t)) continue;
    differ.push_back(t->id);
    if (lacks_suspects(present, *t)) unlogged.push_back(t->id);
  }
  for (const uint64_t id : differ) REJOIN_TRY(renew_triggers(ctx, id));
  for (const uint64_t id : unlogged) REJOIN_TRY(log_displaced(work, id));
  return {};
}

}  // namespace

Status adopt_schema_changes(Work& work) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const bool look, may_have_changed(ctx));
  if (!look) return {};
  REJOIN_ASSIGN(const bool altering, settle_alters(work));
  if (altering) return {};
  std::set<uint64_t> changed;
  REJOIN_ASSIGN(const CaptureTriggers triggers, capture_triggers(ctx.db));
  REJOIN_TRY(follow_tables(work, changed));
  REJOIN_TRY(follow_columns(ctx, triggers, changed));
  REJOIN_TRY(follow_triggers(work));
  ctx.catalog_checked = ctx.catalog_main;
  for (const uint64_t id : changed) REJOIN_TRY(replay_parked_of(work, id));
  return settle_all_hidden(work);
}

}  // namespace rejoin::sqlite
