#include <algorithm>

#include "codec/changeset.h"
#include "codec/cursor.h"
#include "codec/newest_stamp.h"
#include "contract/contract.h"
#include "sqlite/anew.h"
#include "sqlite/apply.h"
#include "sqlite/compact.h"
#include "sqlite/discard.h"
#include "sqlite/enforcement.h"
#include "sqlite/evict.h"
#include "sqlite/extract.h"
#include "sqlite/fold.h"
#include "sqlite/horizon.h"
#include "sqlite/identity.h"
#include "sqlite/impl.h"
#include "sqlite/late_columns.h"
#include "sqlite/rejections.h"

namespace rejoin::sqlite {
namespace {

bool is_start(BytesView cursor) {
  const auto place = codec::decode_cursor(cursor);
  return place && !place->scanning && place->position == 0 && place->key.empty();
}

class SqliteDeviceStore final : public sync::DeviceStore {
 public:
  SqliteDeviceStore(Replica& replica, std::string url) : ctx_(replica.impl().ctx), url_(std::move(url)) {}

  Result<sync::DeviceState> state() override {
    REJOIN_ASSIGN(Work work, begin());
    REJOIN_TRY(fold(work));
    sync::DeviceState state;
    state.site = ctx_.sites[work.state.site];
    contract::Contract contract = current_contract(ctx_);
    state.contract_json = contract::to_json(contract);
    state.contract_fingerprint = contract::fingerprint(contract);
    {
      REJOIN_ASSIGN(Statement * s,
                    peer("SELECT pull_cursor, may_relay, chain_token, max_frame_bytes, max_value_bytes, schema, "
                         "pull_all FROM main.rejoin_peer WHERE url=?1"));
      Use use(*s);
      REJOIN_TRY(s->step());
      state.pull_cursor = s->blob(0);
      state.facts.may_relay = s->integer(1) != 0;
      state.facts.max_frame_bytes = static_cast<uint64_t>(s->integer(3));
      state.facts.max_value_bytes = static_cast<uint64_t>(s->integer(4));
      state.facts.schema = s->text(5);
      state.chain_token = s->blob(2);
      state.pull_own = s->integer(6) != 0;
    }
    REJOIN_TRY(work.commit());
    return state;
  }

  Result<std::optional<sync::PendingPush>> next_push(uint64_t max_bytes, const sync::ServerFacts& facts) override {
    REJOIN_ASSIGN(Work work, begin());
    REJOIN_TRY(fold(work));
    sync::PendingPush push;
    PageRequest request;
    {
      REJOIN_ASSIGN(Statement * s, peer("SELECT chain_token, nonce, frozen, frozen_through, frozen_more, push_cursor, "
                                        "may_relay, site, frozen_cursor FROM main.rejoin_peer WHERE url=?1"));
      Use use(*s);
      REJOIN_TRY(s->step());
      push.chain_token = s->blob(0);
      if (!s->is_null(2)) {
        push.nonce = s->blob(1);
        push.frame = s->blob(2);
        push.through = static_cast<uint64_t>(s->integer(3));
        // What was written since it was frozen waits behind it, or everything is looked for again.
        REJOIN_ASSIGN(int64_t tail, log_tail(ctx_));
        push.more = s->integer(4) != 0 || s->integer(3) < tail || is_start(s->blob(8));
      }
      request.cursor = s->blob(5);
      if (!s->integer(6)) request.only_site = ctx_.sites[work.state.site];
      if (s->blob(7).size() == 16) request.skip_origin = crdt::SiteId::from(s->blob(7));
    }
    if (!push.frame.empty()) {
      REJOIN_TRY(work.commit());
      return std::optional(std::move(push));
    }
    REJOIN_TRY(retry_due_rejections(work));
    request.max_bytes = max_bytes;
    request.whole_if_rejected = true;
    if (facts.max_value_bytes) request.max_value_bytes = facts.max_value_bytes;
    REJOIN_ASSIGN(Page page, extract_page_in(work, request));
    REJOIN_TRY(note_held(work, page.too_large, facts.max_value_bytes));
    if (page.frame.empty()) {
      REJOIN_ASSIGN(Statement * s,
                    peer("UPDATE main.rejoin_peer SET push_cursor=?2, pushed=max(pushed, ?3) WHERE url=?1"));
      Use use(*s);
      s->bind_blob(2, page.next);
      s->bind(3, static_cast<int64_t>(page.through));
      REJOIN_TRY(s->run("noting what is pushed"));
      REJOIN_TRY(work.commit());
      return std::optional<sync::PendingPush>();
    }
    push.nonce = ctx_.random.bytes(16);
    push.frame = std::move(page.frame);
    push.through = page.through;
    push.more = page.more;
    {
      // Frozen before it is sent: a retry sends the same bytes.
      REJOIN_ASSIGN(Statement * s, peer("UPDATE main.rejoin_peer SET nonce=?2, frozen=?3, frozen_cursor=?4, "
                                        "frozen_through=?5, frozen_rows=?6, frozen_more=?7 WHERE url=?1"));
      Use use(*s);
      s->bind_blob(2, push.nonce);
      s->bind_blob(3, push.frame);
      s->bind_blob(4, page.next);
      s->bind(5, static_cast<int64_t>(page.through));
      s->bind(6, static_cast<int64_t>(page.rows));
      s->bind(7, static_cast<int64_t>(page.more));
      REJOIN_TRY(s->run("freezing a chunk"));
    }
    REJOIN_TRY(work.commit());
    return std::optional(std::move(push));
  }

  Result<bool> acknowledge(BytesView nonce, BytesView next_chain_token,
                           const std::vector<sync::RefusedRow>& refused_rows) override {
    REJOIN_ASSIGN(Work work, begin());
    std::vector<sync::RefusedRow> refused = refused_rows;
    Bytes frame;
    bool may_relay = false;
    int64_t through = 0;
    std::optional<crdt::SiteId> server;
    std::optional<uint32_t> given_back;
    std::optional<crdt::Hlc> lost_since;
    {
      REJOIN_ASSIGN(Statement * s,
                    peer("SELECT nonce, frozen, may_relay, frozen_through, site, push_cursor FROM main.rejoin_peer "
                         "WHERE url=?1"));
      Use use(*s);
      REJOIN_TRY(s->step());
      may_relay = s->integer(2) != 0;
      if (s->is_null(1) || s->blob(0) != nonce) {
        s->reset();
        REJOIN_TRY(work.commit());
        return false;
      }
      through = s->integer(3);
      if (s->blob(4).size() == 16) server = crdt::SiteId::from(s->blob(4));
      const auto read_from = codec::decode_cursor(s->blob(5));
      if (read_from && read_from->back != 0) given_back = static_cast<uint32_t>(read_from->back - 1);
      if (read_from && read_from->since != 0) lost_since = read_from->since;
      // What was exported is frozen for good: later stamps must be above it, whatever the clock says.
      frame = s->blob(1);
      crdt::Hlc exported = newest_own_stamp(frame, ctx_.sites[work.state.site]);
      work.state.last_remote = std::max(work.state.last_remote, exported);
      work.state.last = std::max(work.state.last, exported);
    }
    {
      // What waits there for the rest of its stream is not what the server has.
      REJOIN_ASSIGN(Statement * s,
                    peer("UPDATE main.rejoin_peer SET push_cursor=frozen_cursor, pushed=CASE WHEN ?3 THEN max(pushed, "
                         "frozen_through) ELSE pushed END, pushed_rows=pushed_rows+frozen_rows, chain_token=?2, "
                         "nonce=NULL, frozen=NULL, frozen_cursor=NULL WHERE url=?1"));
      Use use(*s);
      s->bind_blob(2, next_chain_token);
      s->bind(3, static_cast<int64_t>(is_last(frame)));
      REJOIN_TRY(s->run("acknowledging a chunk"));
    }
    int64_t anew = 0;
    if (std::any_of(refused.begin(), refused.end(),
                    [](const sync::RefusedRow& row) { return row.code == Code::before_horizon; })) {
      REJOIN_TRY(fold(work));
      REJOIN_ASSIGN(anew, write_anew(work, refused, server, lost_since));
    }
    // A chunk of a larger transaction waits there: what is refused of it comes with the last one's acknowledgement.
    if (is_server() && is_last(frame)) REJOIN_TRY(note_sent(ctx_, through));
    REJOIN_TRY(forget_rejections(ctx_, frame));
    REJOIN_TRY(settle_discarded(work, frame, refused));
    REJOIN_TRY(note_refused(work, refused, frame, {may_relay, given_back, lost_since}));
    REJOIN_TRY(evict_what_can_leave(work));
    REJOIN_TRY(work.commit());
    return anew > 0;
  }

  Result<sync::ApplyOutcome> apply_page(BytesView cursor, BytesView frame, BytesView next_cursor, int64_t server_now_ms,
                                        const std::vector<sync::EvictedRows>& evicted) override {
    return leaving_rollbacks_out(ctx_,
                                 [&] { return apply_page_once(cursor, frame, next_cursor, server_now_ms, evicted); });
  }

  Result<bool> keep_facts(const sync::ServerFacts& facts) override {
    bool relays_now = false;
    {
      // Said with every reply, nearly always the same: no write then.
      REJOIN_ASSIGN(Work look, Work::read(ctx_));
      REJOIN_ASSIGN(
          Statement * s,
          peer("SELECT may_relay, max_frame_bytes, max_value_bytes, schema FROM main.rejoin_peer WHERE url=?1"));
      bool same;
      {
        Use use(*s);
        REJOIN_ASSIGN(bool row, s->step());
        const bool relayed = row && s->integer(0) != 0;
        relays_now = facts.may_relay && !relayed;
        same = row && relayed == facts.may_relay && s->integer(1) == static_cast<int64_t>(facts.max_frame_bytes) &&
               s->integer(2) == static_cast<int64_t>(facts.max_value_bytes) &&
               (facts.schema.empty() || s->text(3) == facts.schema);
      }
      REJOIN_TRY(look.commit());
      if (same) return false;
    }
    REJOIN_ASSIGN(Work work, begin());
    REJOIN_TRY(fold(work));
    REJOIN_TRY(raise_late_columns(work));
    REJOIN_ASSIGN(int64_t again, retry_rejections(work));
    // Changes of other sites were passed over while this device might not relay: they are looked for again.
    if (facts.may_relay) {
      REJOIN_ASSIGN(const bool before, may_relay());
      if (!before) REJOIN_TRY(push_from_start(false, {}, true));
    }
    {
      REJOIN_ASSIGN(Statement * s, peer("UPDATE main.rejoin_peer SET may_relay=?3, max_frame_bytes=?4, "
                                        "max_value_bytes=?5, schema=coalesce(?6, schema) WHERE url=?1"));
      Use use(*s);
      s->bind(3, static_cast<int64_t>(facts.may_relay));
      s->bind(4, static_cast<int64_t>(facts.max_frame_bytes));
      s->bind(5, static_cast<int64_t>(facts.max_value_bytes));
      if (facts.schema.empty())
        s->bind_null(6);
      else
        s->bind_text(6, facts.schema);
      REJOIN_TRY(s->run("keeping what the server said"));
    }
    REJOIN_TRY(work.commit());
    return again > 0 || relays_now;
  }

  Status take_new_identity(BytesView refused_token) override {
    REJOIN_ASSIGN(Work work, begin());
    REJOIN_ASSIGN(const bool same, still_has("chain_token", refused_token));
    if (!same) return work.commit();
    if (refused_token.empty()) {
      REJOIN_ASSIGN(bool moved, take_over_moved_server());
      if (moved) {
        // The place that the pushes had reached came along: who may relay here has not relayed up to it.
        REJOIN_ASSIGN(const bool relays, may_relay());
        if (relays) REJOIN_TRY(push_from_start(false, {}, true));
        return work.commit();
      }
    }
    REJOIN_TRY(fold(work));
    REJOIN_TRY(sqlite::take_new_identity(work));
    // Read from the start: only cells of the new site go out, so nothing known is sent again.
    REJOIN_TRY(push_from_start(false, {}));
    return work.commit();
  }

  Status start_over(BytesView refused_token, const std::optional<sync::Restored>& server) override {
    REJOIN_ASSIGN(Work work, begin());
    REJOIN_ASSIGN(const bool same, still_has("chain_token", refused_token));
    if (!same) return work.commit();
    REJOIN_TRY(drop_waiting_pages());
    REJOIN_TRY(keep_own_rows(work));
    REJOIN_TRY(push_from_start(true, server));
    REJOIN_TRY(
        run("UPDATE main.rejoin_peer SET pushed=0, pull_cursor=NULL, pull_all=1, chain_token=NULL, nonce=NULL, "
            "frozen=NULL, frozen_cursor=NULL WHERE url=?1"));
    return work.commit();
  }

  Status restart_push(BytesView refused_nonce) override {
    REJOIN_ASSIGN(Work work, begin());
    REJOIN_ASSIGN(const bool same, still_has("nonce", refused_nonce));
    if (!same) return work.commit();
    REJOIN_TRY(push_from_start(true, {}));
    REJOIN_TRY(run("UPDATE main.rejoin_peer SET nonce=NULL, frozen=NULL, frozen_cursor=NULL WHERE url=?1"));
    return work.commit();
  }

  Status restart_pull(const std::optional<sync::Restored>& server) override {
    REJOIN_ASSIGN(Work work, begin());
    REJOIN_TRY(drop_waiting_pages());
    if (server) REJOIN_TRY(push_from_start(false, server));
    REJOIN_TRY(run("UPDATE main.rejoin_peer SET pull_cursor=NULL, pull_all=1 WHERE url=?1"));
    return work.commit();
  }

  Status restamp(int64_t server_now_ms) override {
    REJOIN_ASSIGN(Work work, begin());
    REJOIN_TRY(fold(work));
    int64_t pushed = 0;
    {
      REJOIN_ASSIGN(Statement * s, peer("SELECT pushed FROM main.rejoin_peer WHERE url=?1"));
      Use use(*s);
      REJOIN_TRY(s->step());
      pushed = s->integer(0);
    }
    REJOIN_TRY(restamp_unsent(work, pushed, crdt::hlc_of_ms(server_now_ms)));
    // The chunk that was refused carries the old stamps: it is read again from where it started.
    REJOIN_TRY(run("UPDATE main.rejoin_peer SET nonce=NULL, frozen=NULL, frozen_cursor=NULL WHERE url=?1"));
    return work.commit();
  }

  Status note_session(uint64_t, uint64_t, const std::string& error) override {
    REJOIN_ASSIGN(Work work, begin());
    {
      REJOIN_ASSIGN(Statement * s, peer("UPDATE main.rejoin_peer SET last_sync=CASE WHEN ?2 IS NULL THEN ?3 ELSE "
                                        "last_sync END, last_error=?2 WHERE url=?1"));
      Use use(*s);
      if (error.empty())
        s->bind_null(2);
      else
        s->bind_text(2, error);
      s->bind(3, ctx_.clock.now_ms());
      REJOIN_TRY(s->run("noting the session"));
    }
    bool more = false;
    if (error.empty()) {
      REJOIN_TRY(fold(work));
      if (is_server()) REJOIN_TRY(write_waiting_anew(work));
      REJOIN_ASSIGN(more, compact_if_worthwhile(work));
    }
    REJOIN_TRY(work.commit());
    return more ? compact_the_rest(ctx_) : Status();
  }

 private:
  // Not another file.
  bool is_server() const { return !url_.starts_with("replica:"); }

  // The pages that wait for the rest of their stream: the server tells all of it anew. Who reads the same server under
  // another address waits for that rest, too.
  Status drop_waiting_pages() {
    const std::string from_here = "(SELECT site FROM main.rejoin_peer WHERE url=?1)";
    REJOIN_TRY(run("UPDATE main.rejoin_peer SET pull_cursor=NULL, pull_all=1 WHERE site=" + from_here +
                   " AND site IN (SELECT source FROM main.rejoin_staged)"));
    REJOIN_TRY(run("DELETE FROM main.rejoin_staged WHERE source=" + from_here));
    return run("DELETE FROM main.rejoin_stream WHERE source=" + from_here);
  }

  // The next chunk starts a scan of everything; the frozen one is sent before. If `server` is the one that this file
  // knows, the scan takes back to it what it wrote and may have lost; one that was doing so goes on doing so.
  // `always`: start the scan even if there is nothing of the server's here to take back. `own`: a scan of everybody's
  // rows goes to the server with its own, too, of whatever time.
  Status push_from_start(bool always, const std::optional<sync::Restored>& server, bool own = false) {
    codec::Cursor start;
    bool known = false;
    {
      REJOIN_ASSIGN(Statement * s, peer("SELECT push_cursor, site FROM main.rejoin_peer WHERE url=?1"));
      Use use(*s);
      REJOIN_TRY(s->step());
      start.own = own;
      if (const auto before = codec::decode_cursor(s->blob(0))) {
        start.own |= before->own;
        if (before->back != 0) start.back = before->back, start.since = before->since;
      }
      const BytesView site = s->blob(1);
      const int64_t id = site.size() == 16 ? ctx_.sites.find(crdt::SiteId::from(site)) : -1;
      known = server && id >= 0 &&
              std::any_of(server->sites.begin(), server->sites.end(),
                          [&](const crdt::SiteId& its) { return its.view() == site; });
      if (known) {
        // At least 1 where the chain is unknown, which is below everything: a horizon is not the last word then.
        const uint64_t marked = always || start.since != 0 ? 1 : 0;
        uint64_t since = start.own ? 0 : server->through;
        if (start.back != 0) since = std::min<uint64_t>(since, start.since);
        if (start.back == 0) start.back = static_cast<uint64_t>(id) + 1;
        start.since = std::max(since, marked);
      }
    }
    if (server && !known && !always) return {};
    // What this file has of another server's is nothing that this one has.
    if (server && !known) start.back = start.since = 0;
    if (server && !known) REJOIN_TRY(run("UPDATE main.rejoin_peer SET site=NULL WHERE url=?1"));
    REJOIN_ASSIGN(Statement * s, peer("UPDATE main.rejoin_peer SET push_cursor=?2, frozen_cursor=?2 WHERE url=?1"));
    Use use(*s);
    const Bytes place = codec::encode_cursor(start);
    if (start == codec::Cursor())
      s->bind_null(2);
    else
      s->bind_blob(2, place);
    return s->run("starting to push from the beginning");
  }

  Result<bool> may_relay() {
    REJOIN_ASSIGN(Statement * s, peer("SELECT may_relay FROM main.rejoin_peer WHERE url=?1"));
    Use use(*s);
    REJOIN_TRY(s->step());
    return s->integer(0) != 0;
  }

  Status evict_what_can_leave(Work& work) {
    if (!is_server()) return {};  // they wait for a server's pages
    Bytes source;
    int64_t pushed = 0;
    {
      REJOIN_ASSIGN(Statement * s, peer("SELECT site, pushed, pull_cursor FROM main.rejoin_peer WHERE url=?1"));
      Use use(*s);
      REJOIN_TRY(s->step());
      // All comes anew, and nothing of it is here yet.
      if (s->blob(2).empty()) return {};
      source = s->blob(0);
      pushed = s->integer(1);
    }
    return evict(work, pushed, source);
  }

  // The server knows this replica, which has never met it under this address: a server that has moved, perhaps. What is
  // known of the server that was asked last becomes this one's; if it was another, its token is refused in turn, and
  // there is one server less to try.
  Result<bool> take_over_moved_server() {
    Bytes from;
    {
      REJOIN_ASSIGN(Statement * s,
                    peer("SELECT url FROM main.rejoin_peer WHERE url<>?1 AND url NOT GLOB 'replica:*' AND "
                         "chain_token IS NOT NULL ORDER BY last_sync DESC LIMIT 1"));
      Use use(*s);
      REJOIN_ASSIGN(bool found, s->step("looking for a server that has moved"));
      if (!found) return false;
      from = s->text(0);
    }
    for (const char* sql :
         {"UPDATE main.rejoin_peer SET (is_default, site, pull_cursor, push_cursor, pushed, chain_token, nonce, "
          "frozen, "
          "frozen_cursor, frozen_through, frozen_rows, frozen_more, pushed_rows, pulled_rows, last_sync, pull_all) = "
          "(SELECT "
          "max(old.is_default, rejoin_peer.is_default), site, pull_cursor, push_cursor, pushed, chain_token, nonce, "
          "frozen, "
          "frozen_cursor, frozen_through, frozen_rows, frozen_more, pushed_rows, pulled_rows, last_sync, pull_all FROM "
          "main.rejoin_peer AS old WHERE old.url=?2) WHERE url=?1",
          "DELETE FROM main.rejoin_peer WHERE url=?2 AND ?1 IS NOT NULL"}) {
      REJOIN_ASSIGN(Statement * s, peer(sql));
      Use use(*s);
      s->bind_text(2, from);
      REJOIN_TRY(s->run("taking over a server that has moved"));
    }
    return true;
  }

  // A write transaction in which this server's row exists.
  Result<sync::ApplyOutcome> apply_page_once(BytesView cursor, BytesView frame, BytesView next_cursor,
                                             int64_t server_now_ms, const std::vector<sync::EvictedRows>& evicted) {
    REJOIN_ASSIGN(Work work, begin());
    sync::ApplyOutcome outcome;
    Bytes source;
    int64_t pushed = 0;
    {
      REJOIN_ASSIGN(Statement * s, peer("SELECT pull_cursor, pushed FROM main.rejoin_peer WHERE url=?1"));
      Use use(*s);
      REJOIN_TRY(s->step());
      outcome.moved = s->blob(0) != cursor;
      pushed = s->integer(1);
    }
    if (outcome.moved) {
      REJOIN_TRY(work.commit());
      return outcome;
    }
    REJOIN_TRY(note_evicted(work, evicted, is_server(), pushed));
    REJOIN_TRY(keep_what_came_back(ctx_, frame));
    if (!frame.empty()) {
      ApplyOptions options;
      options.now_ms = std::min(server_now_ms, kLatestBelievedMs);
      options.referee = is_server();
      REJOIN_ASSIGN(outcome, apply_in(work, frame, options));
      REJOIN_ASSIGN(auto reader, codec::ChangesetReader::open(frame));
      source = reader.info().source.view();
      REJOIN_TRY(note_not_taken(ctx_, outcome.refused));
    }
    {
      REJOIN_ASSIGN(Statement * s,
                    peer("UPDATE main.rejoin_peer SET pull_cursor=?2, pull_all=0, pulled_rows=pulled_rows+?3, "
                         "site=coalesce(?4, site) WHERE url=?1"));
      Use use(*s);
      s->bind_blob(2, next_cursor);
      s->bind(3, static_cast<int64_t>(outcome.rows_changed));
      if (source.empty())
        s->bind_null(4);
      else
        s->bind_blob(4, source);
      REJOIN_TRY(s->run("noting what is pulled"));
    }
    REJOIN_TRY(evict_what_can_leave(work));
    REJOIN_TRY(work.commit());
    return outcome;
  }

  Result<Work> begin() {
    REJOIN_ASSIGN(Work work, Work::write(ctx_, true));
    REJOIN_ASSIGN(Statement * s, peer("INSERT OR IGNORE INTO main.rejoin_peer(url) VALUES(?1)"));
    {
      Use use(*s);
      REJOIN_TRY(s->run("adding a server"));
    }
    return work;
  }

  Result<Statement*> peer(const std::string& sql) {
    REJOIN_ASSIGN(Statement * s, ctx_.statement(sql));
    s->reset();
    s->bind_text(1, url_);
    return s;
  }

  Status run(const std::string& sql) {
    REJOIN_ASSIGN(Statement * s, peer(sql));
    Use use(*s);
    return s->run("noting the state of sync");
  }

  // False: another process has gone on meanwhile, on the same file.
  Result<bool> still_has(const char* column, BytesView refused) {
    REJOIN_ASSIGN(Statement * s, peer(std::string("SELECT ") + column + " FROM main.rejoin_peer WHERE url=?1"));
    Use use(*s);
    REJOIN_TRY(s->step());
    return s->blob(0) == refused;
  }

  static bool is_last(BytesView frame) {
    auto reader = codec::ChangesetReader::open(frame);
    return reader.ok() && reader->info().through >= reader->info().horizon;
  }

  static crdt::Hlc newest_own_stamp(BytesView frame, const crdt::SiteId& own) {
    auto reader = codec::ChangesetReader::open(frame);
    return reader.ok() ? codec::newest_stamp_of(*reader, own) : 0;
  }

  Context& ctx_;
  std::string url_;
};

}  // namespace

std::unique_ptr<sync::DeviceStore> make_device_store(Replica& replica, const std::string& url) {
  return std::make_unique<SqliteDeviceStore>(replica, url);
}

}  // namespace rejoin::sqlite
