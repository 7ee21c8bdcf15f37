#include "sqlite/identity.h"

#include <functional>

#include "sqlite/aside_stamps.h"
#include "sqlite/feed.h"
#include "sqlite/fold.h"
#include "sqlite/horizon.h"
#include "sqlite/key_reader.h"
#include "sqlite/record_writer.h"
#include "sqlite/visibility.h"
#include "sync/store.h"

namespace rejoin::sqlite {
namespace {

// The log position that every configured server has acknowledged; 0 without a server.
Result<int64_t> acknowledged(Context& ctx) {
  REJOIN_ASSIGN(auto pushed,
                query_int(ctx.db,
                          "SELECT coalesce(min(pushed), 0) FROM main.rejoin_peer WHERE url NOT GLOB 'replica:*' AND "
                          "(is_default OR chain_token IS NOT NULL OR last_sync IS NOT NULL)"));
  return pushed.value_or(0);
}

// A random site id above `old`: moved stamps must only grow, or replicas that have met the old ones would keep them for
// good.
crdt::SiteId greater_site(Random& random, const crdt::SiteId& old) {
  crdt::SiteId id = crdt::SiteId::from(random.bytes(16));
  size_t i = 0;
  for (; i < 15 && static_cast<uint8_t>(old.bytes[i]) == 0xff; ++i) id.bytes[i] = old.bytes[i];
  auto floor = static_cast<uint8_t>(old.bytes[i]);
  auto drawn = static_cast<uint8_t>(id.bytes[i]);
  if (drawn <= floor && floor < 0xff) id.bytes[i] = static_cast<char>(floor + 1 + drawn % (0xff - floor));
  return id;
}

// Rewrites the stamps of local writes after a log position: every own stamp becomes change(stamp).
template <class F>
Status rewrite_own_stamps(Work& work, int64_t after, uint32_t own, F&& change) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
  FeedRequest request;
  request.after = after;
  request.up_to = tail;
  request.local_only = true;
  State as_old = work.state;
  as_old.site = own;
  REJOIN_ASSIGN(Feed feed, read_feed(ctx, as_old, request));
  crdt::RowRecord record, before;
  using Moving = std::function<void(crdt::Stamp&)>;
  const Moving apply = [&](crdt::Stamp& s) {
    if (!s.bottom() && s.site == own) s = change(s);
  };
  for (const TableTouches& t : feed.tables) {
    REJOIN_ASSIGN(RecordReader reader, RecordReader::open(ctx, *t.table));
    RecordWriter writer(ctx, *t.table);
    REJOIN_ASSIGN(const AsideStamps aside, AsideStamps::load(ctx, *t.table));
    for (const Touch& touch : t.touches) {
      BytesView key = t.key(touch);
      REJOIN_ASSIGN(BytesView stored, reader.find(key));
      if (!stored.data()) continue;
      if (!crdt::decode_record(stored, ctx.sites.size(), record))
        return fail(Code::corrupt, "the record of a row in \"" + t.table->name + "\" is damaged; run rejoin doctor");
      const bool kept_aside = aside.has(key);
      if (kept_aside) before = record;
      if (touch.whole || touch.life) apply(record.live);
      if (touch.whole) apply(record.birth);
      // Groups that are only partly about unsent columns are split; canonicalise() merges what is equal again.
      std::vector<crdt::CellGroup> groups;
      for (crdt::CellGroup& g : record.groups) {
        crdt::CellGroup mine = g;
        if (!touch.whole) mine.columns &= touch.columns;
        if (g.stamp.site != own || mine.columns.empty()) {
          groups.push_back(g);
          continue;
        }
        crdt::CellGroup rest = g;
        rest.columns -= mine.columns;
        apply(mine.stamp);
        groups.push_back(mine);
        if (!rest.columns.empty()) groups.push_back(rest);
      }
      record.groups = std::move(groups);
      // A birth that moved above what others wrote at the same instant would forget their writes: they move with it.
      auto lift = [&](crdt::Stamp& s) {
        if (!s.bottom() && crdt::compare(s, record.birth, ctx.sites) < 0) s = record.birth;
      };
      lift(record.live);
      for (crdt::CellGroup& g : record.groups) lift(g.stamp);
      crdt::canonicalise(record, ctx.sites);
      if (kept_aside) REJOIN_TRY(aside.follow(key, before, record, touch.whole ? apply : Moving()));
      writer.add(key, record);
      if (writer.size() >= 1024) {
        reader.reset();
        REJOIN_TRY(writer.flush());
      }
    }
    reader.reset();
    REJOIN_TRY(writer.flush());
  }
  return {};
}

// No table of the layout: files of which no identity has changed do without, and older builds pass it over.
Status note_former_site(Context& ctx, uint32_t site) {
  REJOIN_TRY(exec(ctx.db, "CREATE TABLE IF NOT EXISTS main.rejoin_identity(site INTEGER PRIMARY KEY)"));
  return exec(ctx.db, "INSERT OR IGNORE INTO main.rejoin_identity(site) VALUES(" + std::to_string(site) + ")");
}

}  // namespace

Result<std::vector<uint32_t>> own_sites(Work& work) {
  std::vector<uint32_t> out{work.state.site};
  REJOIN_ASSIGN(
      const auto there,
      query_int(work.ctx().db, "SELECT 1 FROM main.sqlite_master WHERE type='table' AND name='rejoin_identity'"));
  if (!there) return out;
  REJOIN_ASSIGN(Statement former,
                prepare(work.ctx().db, "SELECT site FROM main.rejoin_identity ORDER BY site DESC LIMIT " +
                                           std::to_string(sync::kMostOwnSites - 1)));
  for (;;) {
    REJOIN_ASSIGN(const bool row, former.step());
    if (!row) return out;
    out.push_back(static_cast<uint32_t>(former.integer(0)));
  }
}

Status take_new_identity(Work& work) {
  Context& ctx = work.ctx();
  uint32_t old = work.state.site;
  REJOIN_TRY(note_former_site(ctx, old));
  REJOIN_ASSIGN(uint32_t fresh, intern_site(ctx, greater_site(ctx.random, ctx.sites[old])));
  // What is folded and unsent moves; what is not folded yet will get the new id anyhow.
  REJOIN_ASSIGN(int64_t sent, acknowledged(ctx));
  REJOIN_TRY(rewrite_own_stamps(work, sent, old, [&](crdt::Stamp s) { return crdt::Stamp{s.hlc, fresh}; }));
  // Local entries of the feed that a merge-like list carries (existing rows at track) name their origin.
  REJOIN_TRY(exec(ctx.db, "UPDATE main.rejoin_log SET bits=" + std::to_string(fresh) +
                              " WHERE op=16 AND bits=" + std::to_string(old) + " AND seq>" + std::to_string(sent)));
  work.state.site = fresh;
  // The other copy may have sent what this one has not.
  REJOIN_ASSIGN(const int64_t tail, log_tail(ctx));
  REJOIN_TRY(note_sent(ctx, tail));
  // A new replica starts a new chain with every server; the pull cursor stays good, for what was pulled is here.
  REJOIN_TRY(exec(ctx.db, "UPDATE main.rejoin_peer SET chain_token=NULL, nonce=NULL, frozen=NULL, frozen_cursor=NULL"));
  REJOIN_TRY(work.save());
  // The stamps decide which of several rows has a UNIQUE value.
  return settle_all_hidden(work);
}

Status restamp_unsent(Work& work, int64_t after, crdt::Hlc limit) {
  crdt::Hlc last = work.state.last_remote;
  crdt::Hlc honest = std::max(limit, last + 1);
  REJOIN_TRY(rewrite_own_stamps(work, after, work.state.site, [&](crdt::Stamp s) {
    return s.hlc > honest ? crdt::Stamp{honest, s.site} : s;
  }));
  work.state.last = std::max(last, honest);
  REJOIN_TRY(work.save());
  return settle_all_hidden(work);
}

}  // namespace rejoin::sqlite
