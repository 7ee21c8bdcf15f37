#include "sqlite/identity.h"

#include <algorithm>
#include <functional>

#include "codec/cursor.h"
#include "sqlite/aside_stamps.h"
#include "sqlite/feed.h"
#include "sqlite/fold.h"
#include "sqlite/horizon.h"
#include "sqlite/key_reader.h"
#include "sqlite/record_writer.h"
#include "sqlite/rejections.h"
#include "sqlite/row_state.h"
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

// A site id above `old`: moved stamps must only grow, or replicas that have met the old ones would keep them for good.
// Right above it, so that none of another site's stamps, of the same instant, lies between (lift_to_birth() is for
// those of other copies): what is kept aside under another column's name would not be told from the row's own then. The
// first four bytes, of which `rejoin explain` shows all, are the old ones and one; the others are random.
crdt::SiteId greater_site(Random& random, const crdt::SiteId& old) {
  crdt::SiteId id = crdt::SiteId::from(random.bytes(16));
  const auto full = [&](size_t i) { return static_cast<uint8_t>(old.bytes[i]) == 0xff; };
  size_t grows = 3;
  while (grows > 0 && full(grows)) --grows;
  if (full(grows))  // all four
    for (grows = 4; grows < 15 && full(grows);) ++grows;
  for (size_t i = 0; i < grows; ++i) id.bytes[i] = old.bytes[i];
  id.bytes[grows] = static_cast<char>(static_cast<uint8_t>(old.bytes[grows]) + 1);
  for (size_t i = grows + 1; i < 4; ++i) id.bytes[i] = 0;
  return id;
}

// A birth that moved above what others wrote at the same instant would forget their writes: they move with it.
void lift_to_birth(crdt::RowRecord& record, const crdt::SiteTable& sites) {
  const auto lift = [&](crdt::Stamp& s) {
    if (!s.bottom() && crdt::compare(s, record.birth, sites) < 0) s = record.birth;
  };
  lift(record.live);
  for (crdt::CellGroup& g : record.groups) lift(g.stamp);
  crdt::canonicalise(record, sites);
}

// What a server that refused a write of the row said it has of it.
Result<crdt::RowRecord> servers_record(Context& ctx, const Table& table, BytesView key) {
  REJOIN_ASSIGN(const Bytes told, told_frame(ctx, table, key));
  REJOIN_ASSIGN(const auto answer, read_told_if_whole(ctx, told));
  return answer ? state_of(table, answer->row).record : crdt::RowRecord();
}

// Of a row that is to be tried again all goes; the stamps that the server has stay nevertheless, for what it says of
// them holds as long as they do.
void keep_servers(crdt::RowRecord& record, const crdt::RowRecord& before, const crdt::RowRecord& servers) {
  if (before.live == servers.live) record.live = before.live;
  if (before.birth == servers.birth) record.birth = before.birth;
  for (const crdt::CellGroup& g : servers.groups) {
    crdt::ColumnSet columns;
    g.columns.each([&](uint32_t c) {
      if (before.stamp_of(c) == g.stamp) columns.add(c);
    });
    if (!columns.empty()) record.write(columns, g.stamp);
  }
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
  crdt::RowRecord record, before, servers;
  REJOIN_ASSIGN(const bool rejections, has_rejections(ctx));
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
      if (kept_aside || rejections) before = record;
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
      if (rejections) {
        REJOIN_ASSIGN(servers, servers_record(ctx, *t.table, key));
        keep_servers(record, before, servers);
      }
      lift_to_birth(record, ctx.sites);
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

struct Listed {
  const Table* table;
  Bytes key, versions;
};

Result<std::vector<Listed>> listed_rows(Context& ctx) {
  std::vector<Listed> out;
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("SELECT table_name, k, versions FROM main.rejoin_rejections ORDER BY 1, 2"));
  Use use(*s);
  for (;;) {
    REJOIN_ASSIGN(bool row, s->step("reading the rejections"));
    if (!row) return out;
    if (const Table* table = ctx.catalog.find(s->text(0))) out.push_back({table, Bytes(s->blob(1)), Bytes(s->blob(2))});
  }
}

// Moves what was refused of a row, in its record and in the list, from `former` sites to `fresh`. False: nothing of it
// is of those.
bool move_refused(crdt::RowRecord& record, crdt::RowRecord& versions, crdt::RowRecord told,
                  const std::vector<uint32_t>& former, uint32_t fresh, const crdt::SiteTable& sites) {
  const crdt::RowRecord mine = record, before = versions;
  // One that moved already, because it was to be tried again, is named anew. What took its place since is another.
  const auto moves = [&](crdt::Stamp refused, crdt::Stamp is, crdt::Stamp servers) {
    return !refused.bottom() && std::find(former.begin(), former.end(), refused.site) != former.end() &&
           refused.hlc == is.hlc && (is.site == fresh || (is == refused && servers != refused));
  };
  if (moves(before.birth, mine.birth, told.birth)) {
    record.birth = versions.birth = {before.birth.hlc, fresh};
    told = {};  // cells below a birth are nothing: all go with it
  }
  if (moves(before.live, mine.live, told.live)) record.live = versions.live = {before.live.hlc, fresh};
  for (const crdt::CellGroup& g : before.groups) {
    crdt::ColumnSet columns;
    g.columns.each([&](uint32_t c) {
      if (moves(g.stamp, mine.stamp_of(c), told.stamp_of(c))) columns.add(c);
    });
    if (columns.empty()) continue;
    record.write(columns, {g.stamp.hlc, fresh});
    versions.write(columns, {g.stamp.hlc, fresh});
  }
  lift_to_birth(record, sites);
  crdt::canonicalise(versions, sites);
  return !(versions == before);
}

// No table of the layout: files of which no identity has changed do without, and older builds pass it over.
Status note_former_site(Context& ctx, uint32_t site) {
  REJOIN_TRY(exec(ctx.db, "CREATE TABLE IF NOT EXISTS main.rejoin_identity(site INTEGER PRIMARY KEY)"));
  return exec(ctx.db, "INSERT OR IGNORE INTO main.rejoin_identity(site) VALUES(" + std::to_string(site) + ")");
}

// The chunks of the former site that wait at a server for the rest of their stream are not gone on with.
Status end_push_streams(Context& ctx) {
  std::vector<std::pair<std::string, codec::Cursor>> peers;
  {
    REJOIN_ASSIGN(Statement s,
                  prepare(ctx.db, "SELECT url, push_cursor FROM main.rejoin_peer WHERE push_cursor NOT NULL"));
    for (;;) {
      REJOIN_ASSIGN(const bool row, s.step("reading how far was pushed"));
      if (!row) break;
      const auto place = codec::decode_cursor(s.blob(1));
      if (place && place->horizon != 0) peers.emplace_back(std::string(s.text(0)), *place);
    }
  }
  for (const auto& [url, place] : peers) {
    codec::Cursor start;
    start.back = place.back, start.since = place.since, start.own = place.own;
    REJOIN_ASSIGN(Statement s, prepare(ctx.db, "UPDATE main.rejoin_peer SET push_cursor=?2 WHERE url=?1"));
    s.bind_text(1, url);
    const Bytes cursor = codec::encode_cursor(start);
    if (start == codec::Cursor())
      s.bind_null(2);
    else
      s.bind_blob(2, cursor);
    REJOIN_TRY(s.run("starting to push from the beginning"));
  }
  return {};
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

namespace {

// Did anything move?
Result<bool> move_all_refused(Work& work) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(std::vector<uint32_t> former, own_sites(work));
  former.erase(former.begin());
  if (former.empty()) return false;
  REJOIN_ASSIGN(const std::vector<Listed> rows, listed_rows(ctx));
  bool any = false;
  for (size_t at = 0; at < rows.size();) {
    const Table& table = *rows[at].table;
    REJOIN_ASSIGN(RecordReader reader, RecordReader::open(ctx, table));
    RecordWriter writer(ctx, table);
    REJOIN_ASSIGN(const AsideStamps aside, AsideStamps::load(ctx, table));
    for (; at < rows.size() && rows[at].table == &table; ++at) {
      const Listed& row = rows[at];
      REJOIN_ASSIGN(BytesView stored, reader.find(row.key));
      crdt::RowRecord record, versions;
      if (!stored.data() || !crdt::decode_record(stored, ctx.sites.size(), record)) continue;
      // An older build did not note what was refused: all that could be pushed was.
      if (row.versions.empty())
        versions = crdt::part_of_sites(record, former);
      else if (!crdt::decode_record(row.versions, ctx.sites.size(), versions))
        continue;
      REJOIN_ASSIGN(const crdt::RowRecord servers, servers_record(ctx, table, row.key));
      const crdt::RowRecord before = record;
      if (!move_refused(record, versions, servers, former, work.state.site, ctx.sites)) continue;
      any = true;
      const auto follow = [&](crdt::Stamp& s) {
        if (!s.bottom() && std::find(former.begin(), former.end(), s.site) != former.end()) s.site = work.state.site;
      };
      if (aside.has(row.key))
        REJOIN_TRY(aside.follow(row.key, before, record,
                                before.birth == record.birth ? std::function<void(crdt::Stamp&)>() : follow));
      writer.add(row.key, record);
      Bytes encoded;
      crdt::encode_record(versions, encoded);
      REJOIN_ASSIGN(Statement * s,
                    ctx.statement("UPDATE main.rejoin_rejections SET versions=?3 WHERE table_name=?1 AND k=?2"));
      Use use(*s);
      s->bind_text(1, table.name);
      s->bind_blob(2, row.key);
      s->bind_blob(3, encoded);
      REJOIN_TRY(s->run("noting what was refused"));
      if (writer.size() >= 1024) {
        reader.reset();
        REJOIN_TRY(writer.flush());
      }
    }
    reader.reset();
    REJOIN_TRY(writer.flush());
  }
  return any;
}

}  // namespace

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
  REJOIN_ASSIGN([[maybe_unused]] const bool moved, move_all_refused(work));
  // The other copy may have sent what this one has not.
  REJOIN_ASSIGN(const int64_t tail, log_tail(ctx));
  REJOIN_TRY(note_sent(ctx, tail));
  // A new replica starts a new chain with every server; the pull cursor stays good, for what was pulled is here.
  REJOIN_TRY(exec(ctx.db, "UPDATE main.rejoin_peer SET chain_token=NULL, nonce=NULL, frozen=NULL, frozen_cursor=NULL"));
  REJOIN_TRY(end_push_streams(ctx));
  REJOIN_TRY(work.save());
  // The stamps decide which of several rows has a UNIQUE value.
  return settle_all_hidden(work);
}

Status take_over_refused(Work& work) {
  REJOIN_ASSIGN(const bool moved, move_all_refused(work));
  // The stamps decide which of several rows has a UNIQUE value.
  return moved ? settle_all_hidden(work) : Status();
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
