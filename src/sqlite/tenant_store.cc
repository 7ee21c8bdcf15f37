#include <algorithm>
#include <optional>

#include "codec/changeset.h"
#include "codec/cursor.h"
#include "codec/newest_stamp.h"
#include "contract/contract.h"
#include "sqlite/apply.h"
#include "sqlite/compact.h"
#include "sqlite/enforcement.h"
#include "sqlite/extract.h"
#include "sqlite/fold.h"
#include "sqlite/horizon.h"
#include "sqlite/identity.h"
#include "sqlite/impl.h"
#include "sqlite/purge.h"
#include "sqlite/row_state.h"
#include "sqlite/track.h"
#include "sync/chain.h"
#include "sync/page_place.h"
#include "sync/published.h"

namespace rejoin::sqlite {
namespace {

class SqliteTenantStore final : public sync::TenantStore {
 public:
  explicit SqliteTenantStore(Replica& replica) : ctx_(replica.impl().ctx) {}

  Result<sync::PushReply> push(const sync::PushRequest& request) override {
    return leaving_rollbacks_out(ctx_, [&] { return push_once(request); });
  }

  Result<sync::PullReply> pull(const sync::PullRequest& request) override {
    sync::PullReply reply;
    auto cursor = codec::decode_cursor(request.cursor);
    if (!cursor) return fail(Code::bad_argument, "the pull cursor is malformed; pull from the beginning");
    PageRequest page_request;
    page_request.cursor = request.cursor;
    page_request.max_bytes = request.max_bytes;
    page_request.skip_origin = request.site;
    page_request.own = request.own;
    page_request.who = request.who;
    crdt::Hlc horizon = 0;
    {
      REJOIN_ASSIGN(Work made, Work::write_if_missing(ctx_));
      REJOIN_TRY(check_chain(request));
      page_request.own |= request.pushing ? request.known : request.unpushed && ctx_.sites.find(request.site) >= 0;
      REJOIN_ASSIGN(const Horizon known, read_horizon(ctx_));
      horizon = known.hlc;
      REJOIN_ASSIGN(page_request.behind, missed_deletions(made, request.device, request.site, request.cursor));
      REJOIN_TRY(made.commit());
      if (page_request.behind && request.pushing) {
        // What it has of forgotten rows is judged first.
        reply.next_cursor = request.cursor;
        reply.more = true;
        return reply;
      }
    }
    REJOIN_ASSIGN(Page page, extract_page(ctx_, page_request));
    if (horizon != 0 && (page_request.behind || (request.cursor.empty() && request.own))) {
      // The pages name every row that there is.
      for (const auto& table : ctx_.catalog.tables)
        if (sync::right_of(request.who, table->name).pull) page.evicted.push_back({table->name, true, {}, horizon});
    }
    reply.frame = std::move(page.frame);
    reply.next_cursor = std::move(page.next);
    reply.more = page.more;
    reply.rows = page.rows;
    reply.restarted = page.restarted;
    reply.evicted = std::move(page.evicted);
    // Only a cursor that this store gave out says what the device has.
    const bool has = !cursor->scanning && cursor->position > 0 && !page.restarted && !page_request.behind;
    REJOIN_TRY(note_seen(request, has ? static_cast<int64_t>(cursor->position) : -1));
    return reply;
  }

  Result<sync::Restored> restored(const std::string& device, const crdt::SiteId& site, BytesView token,
                                  BytesView cursor) override {
    REJOIN_ASSIGN(Work work, Work::write(ctx_, true));
    sync::Restored out;
    REJOIN_ASSIGN(const std::vector<uint32_t> own, own_sites(work));
    for (const uint32_t id : own) out.sites.push_back(ctx_.sites[id]);
    REJOIN_ASSIGN(const std::optional<sync::Chain> chain, load_chain(device, site));
    // Another request may have begun the chain anew meanwhile.
    const bool anew = !token.empty() && (!chain || sync::is_unknown(*chain, token));
    if (anew && chain) {
      out.through = sync::stamped_through(chain->reply);
      REJOIN_TRY(of_device("UPDATE main.rejoin_device SET counter=0, token=x'', nonce=NULL WHERE device=?1 AND site=?2",
                           device, site));
    }
    // A site that another device has brought is a copy's: it must not pass for this device's own.
    REJOIN_ASSIGN(const Horizon horizon, read_horizon(ctx_));
    if (anew && horizon.hlc != 0 && sync::is_before(cursor, horizon.position))
      REJOIN_TRY(
          of_device("INSERT INTO main.rejoin_device(device, site, counter, token, last_seen, acknowledged) "
                    "SELECT ?1, ?2, 0, x'', 0, -1 WHERE NOT EXISTS (SELECT 1 FROM main.rejoin_device WHERE site=?2 AND "
                    "device<>?1) ON CONFLICT(device, site) DO UPDATE SET acknowledged=-1",
                    device, site));
    REJOIN_TRY(work.commit());
    return out;
  }

  Result<std::string> contract_fingerprint() override {
    REJOIN_ASSIGN(Work work, Work::write_if_missing(ctx_));
    std::string out = contract::fingerprint(current_contract(ctx_));
    REJOIN_TRY(work.commit());
    return out;
  }

  Result<std::string> contract_json() override {
    REJOIN_ASSIGN(Work work, Work::write_if_missing(ctx_));
    std::string out = contract::to_json(current_contract(ctx_));
    REJOIN_TRY(work.commit());
    return out;
  }

  Result<bool> knows_contract(const std::string& fingerprint, bool may_create) override {
    REJOIN_ASSIGN(Work work, Work::write_if_missing(ctx_));
    bool known = contract::fingerprint(current_contract(ctx_)) == fingerprint;
    if (!known) {
      REJOIN_ASSIGN(Statement * s,
                    ctx_.statement("SELECT 1 FROM main.rejoin_contract WHERE fingerprint=?1 AND complete>=?2"));
      Use use(*s);
      s->bind_text(1, fingerprint);
      s->bind(2, static_cast<int64_t>(may_create));
      REJOIN_ASSIGN(known, s->step("looking for a contract"));
    }
    REJOIN_TRY(work.commit());
    return known;
  }

  Status adopt_contract(const std::string& json, bool may_create) override {
    REJOIN_ASSIGN(contract::Contract contract, contract::from_json(json));
    std::string fingerprint = contract::fingerprint(contract);
    REJOIN_ASSIGN(Work work, Work::write(ctx_, true));
    if (may_create) {
      for (const contract::Table& wanted : contract.tables) {
        // A table that cannot be made here (another one of that name is in the way) must not keep the others out; its
        // rows are refused one by one.
        REJOIN_TRY(exec(ctx_.db, "SAVEPOINT rejoin_room"));
        if (Status made = make_room_for(wanted); !made.ok()) {
          if (code_retryable(made.error().code)) return made;
          ctx_.statements.clear();
          REJOIN_TRY(exec(ctx_.db, "ROLLBACK TO rejoin_room"));
          ctx_.forget();
        }
        REJOIN_TRY(exec(ctx_.db, "RELEASE rejoin_room"));
      }
      REJOIN_TRY(refresh_catalog(ctx_));
    }
    // One that could not be fully taken is asked for again when a token comes that may create what is missing.
    bool taken = true;
    for (const contract::Table& wanted : contract.tables) taken &= what_lacks(wanted).empty();
    {
      REJOIN_ASSIGN(Statement * s,
                    ctx_.statement(
                        "INSERT OR REPLACE INTO main.rejoin_contract(fingerprint, json, complete) VALUES(?1, ?2, ?3)"));
      Use use(*s);
      std::string text = contract::to_json(contract);
      s->bind_text(1, fingerprint);
      s->bind_text(2, text);
      s->bind(3, static_cast<int64_t>(taken));
      REJOIN_TRY(s->run("keeping a contract"));
    }
    return work.commit();
  }

  Result<std::string> published_contract() override {
    REJOIN_ASSIGN(Work work, Work::write_if_missing(ctx_));
    REJOIN_ASSIGN(std::string out, read_published());
    REJOIN_TRY(work.commit());
    return out;
  }

  Status publish_contract(const std::string& json) override {
    REJOIN_ASSIGN(const contract::Contract next, contract::from_json(json));
    REJOIN_ASSIGN(Work work, Work::write(ctx_, true));
    REJOIN_ASSIGN(const std::string before, read_published());
    REJOIN_TRY(sync::check_follows(before, contract::to_json(current_contract(ctx_)), next));
    REJOIN_TRY(adopt_contract(json, true));
    for (const contract::Table& wanted : next.tables)
      if (const std::string lacks = what_lacks(wanted); !lacks.empty())
        return fail(Code::schema_refused, lacks + " cannot be made on the server; nothing was published");
    {
      REJOIN_ASSIGN(Statement * s, ctx_.statement("INSERT OR REPLACE INTO main.rejoin_contract(fingerprint, json, "
                                                  "complete) VALUES(?1, ?2, 1)"));
      Use use(*s);
      const std::string text = contract::to_json(next);
      s->bind_text(1, sync::kPublished);
      s->bind_text(2, text);
      REJOIN_TRY(s->run("publishing a contract"));
    }
    return work.commit();
  }

 private:
  Result<sync::PushReply> push_once(const sync::PushRequest& request) {
    if (request.nonce.size() != 16) return fail(Code::bad_argument, "a push needs a nonce of 16 random bytes");
    REJOIN_ASSIGN(Work work, Work::write(ctx_, true));
    REJOIN_ASSIGN(std::optional<sync::Chain> chain, load_chain(request.device, request.site));
    bool taken = false;
    if (!chain) {
      // A site belongs to the device that brought it first.
      REJOIN_ASSIGN(Statement * s, ctx_.statement("SELECT 1 FROM main.rejoin_device WHERE site=?1"));
      Use use(*s);
      s->bind_blob(1, request.site.view());
      REJOIN_ASSIGN(taken, s->step("looking for a site's device"));
    }
    switch (sync::link_of(chain ? &*chain : nullptr, taken, request.chain_token, request.nonce)) {
      case sync::Link::repeat: {
        sync::PushReply reply;
        reply.next_chain_token = chain->token;
        reply.outcome = sync::decode_outcome(chain->reply);
        reply.repeated = true;
        reply.known = chain->counter == 1;  // or it was not: not told any more
        REJOIN_TRY(work.commit());
        return reply;
      }
      case sync::Link::stale:
        return sync::stale_chain();
      case sync::Link::unknown:
        return sync::unknown_chain();
      case sync::Link::next:
        break;
    }
    const uint64_t counter = chain ? chain->counter : 0;

    ApplyOptions options;
    if (!request.may_relay) options.only_site = request.site;
    options.origin = request.site;
    options.drift_ms = request.drift_ms;
    options.refuse_ahead = true;
    options.refuse_unknown = true;
    options.limits = request.limits;
    options.who = request.who;
    REJOIN_ASSIGN(options.stale, missed_deletions(work, request.device, request.site, request.cursor));
    sync::PushReply reply;
    reply.known = counter == 0 && ctx_.sites.find(request.site) >= 0;
    REJOIN_ASSIGN(reply.outcome, apply_in(work, request.frame, options));
    REJOIN_TRY(keep_clock_ahead(work, request));
    REJOIN_TRY(tell_rows(work, request.who, reply.outcome.refused));
    reply.next_chain_token = sync::make_chain_token(ctx_.random, counter + 1);
    {
      REJOIN_ASSIGN(
          Statement * s,
          ctx_.statement(
              "INSERT INTO main.rejoin_device(device, site, counter, token, nonce, reply, last_seen) VALUES(?1, ?2, "
              "?3, ?4, ?5, ?6, ?7) "
              "ON CONFLICT(device, site) DO UPDATE SET counter=?3, token=?4, nonce=?5, reply=?6, last_seen=?7"));
      Use use(*s);
      Bytes outcome = sync::encode_outcome(reply.outcome, work.state.last);
      s->bind_text(1, request.device);
      s->bind_blob(2, request.site.view());
      s->bind(3, static_cast<int64_t>(counter + 1));
      s->bind_blob(4, reply.next_chain_token);
      s->bind_blob(5, request.nonce);
      s->bind_blob(6, outcome);
      s->bind(7, request.now_ms);
      REJOIN_TRY(s->run("noting a device"));
    }
    // The next push goes on with what is left.
    REJOIN_TRY(compact_if_worthwhile(work));
    REJOIN_TRY(work.commit());
    return reply;
  }

  // A stamp that this store gave before it was restored is not given once more, also when what has it only waits for
  // the rest of its transaction, or was refused.
  Status keep_clock_ahead(Work& work, const sync::PushRequest& request) {
    REJOIN_ASSIGN(const auto reader, codec::ChangesetReader::open(request.frame, request.limits));
    const crdt::Hlc given = codec::newest_stamp_of(reader, ctx_.sites[work.state.site]);
    if (given <= crdt::hlc_of_ms(request.now_ms + request.drift_ms)) work.state.last = std::max(work.state.last, given);
    return {};
  }

  Result<std::string> read_published() {
    REJOIN_ASSIGN(Statement * s, ctx_.statement("SELECT json FROM main.rejoin_contract WHERE fingerprint=?1"));
    Use use(*s);
    s->bind_text(1, sync::kPublished);
    REJOIN_ASSIGN(bool row, s->step("reading the published contract"));
    return row ? std::string(s->text(0)) : std::string();
  }

  // The first table or column of it that is not here; empty: all is.
  std::string what_lacks(const contract::Table& wanted) {
    const Table* have = ctx_.catalog.find(wanted.name);
    if (!have) return "table " + contract::quote_name(wanted.name);
    for (const contract::Column& c : wanted.columns)
      if (!has_column(*have, c.name))
        return "column " + contract::quote_name(c.name) + " of table " + contract::quote_name(wanted.name);
    return "";
  }

  Result<std::optional<sync::Chain>> load_chain(const std::string& device, const crdt::SiteId& site) {
    REJOIN_ASSIGN(Statement * s, ctx_.statement("SELECT counter, token, nonce, reply FROM main.rejoin_device WHERE "
                                                "device=?1 AND site=?2"));
    Use use(*s);
    s->bind_text(1, device);
    s->bind_blob(2, site.view());
    REJOIN_ASSIGN(bool known, s->step("reading a device"));
    if (!known) return std::optional<sync::Chain>();
    return std::optional(
        sync::Chain{static_cast<uint64_t>(s->integer(0)), Bytes(s->blob(1)), Bytes(s->blob(2)), Bytes(s->blob(3))});
  }

  // A device that asks without pushing: what came from its site is left out, so it must not be an older state of it.
  Status check_chain(const sync::PullRequest& request) {
    if (request.chain_token.empty() && !request.unpushed) return {};
    REJOIN_ASSIGN(std::optional<sync::Chain> chain, load_chain(request.device, request.site));
    return sync::check_pull(chain ? &*chain : nullptr, request.chain_token, request.unpushed);
  }

  Status of_device(const char* sql, const std::string& device, const crdt::SiteId& site) {
    REJOIN_ASSIGN(Statement * s, ctx_.statement(sql));
    Use use(*s);
    s->bind_text(1, device);
    s->bind_blob(2, site.view());
    return s->run("beginning a device's chain anew");
  }

  static bool has_column(const Table& table, const std::string& name) {
    auto same = [&](const Column& c) { return c.present && sqlite3_stricmp(c.name.c_str(), name.c_str()) == 0; };
    return std::any_of(table.columns.begin(), table.columns.end(), same) ||
           std::any_of(table.key.begin(), table.key.end(), same);
  }

  // The tenant's own copy of a table: same columns, key and types, without constraints that could keep a device's rows
  // out.
  Status make_room_for(const contract::Table& wanted) {
    Table* have = ctx_.catalog.find(wanted.name);
    if (!have) {
      contract::Table relaxed = wanted;
      for (contract::Column& c : relaxed.columns) c.not_null = false;
      REJOIN_ASSIGN(const bool there, is_table(ctx_.db, wanted.name));
      if (!there) REJOIN_TRY(exec(ctx_.db, contract::sqlite_ddl(relaxed)));
      TrackOptions options;
      options.allow_integer_key = true;
      return track(ctx_, wanted.name, options);
    }
    bool grown = false;
    for (const contract::Column& c : wanted.columns) {
      if (has_column(*have, c.name)) continue;
      REJOIN_TRY(
          exec(ctx_.db, "ALTER TABLE main." + quote(have->name) + " ADD COLUMN " + contract::sqlite_column_ddl(c)));
      grown = true;
    }
    if (!grown) return {};
    REJOIN_ASSIGN(Work adopted, Work::write(ctx_));  // finds the new columns
    return adopted.commit();
  }

  // Has this device missed deletions that are forgotten here?
  Result<bool> missed_deletions(Work& work, const std::string& device, const crdt::SiteId& site, BytesView cursor) {
    REJOIN_ASSIGN(const Horizon horizon, read_horizon(ctx_));
    if (horizon.hlc == 0) return false;
    bool marked = false;
    {
      REJOIN_ASSIGN(Statement * s,
                    ctx_.statement("SELECT 1 FROM main.rejoin_device WHERE device=?1 AND site=?2 AND acknowledged<0"));
      Use use(*s);
      s->bind_text(1, device);
      s->bind_blob(2, site.view());
      REJOIN_ASSIGN(marked, s->step("reading a device"));
    }
    if (cursor.empty()) return marked;
    const auto place = codec::decode_cursor(cursor);
    if (!place) return false;
    std::optional<int64_t> token;  // of the batch that holds the place
    {
      REJOIN_ASSIGN(Statement * s, ctx_.statement("SELECT token FROM main.rejoin_batch WHERE last_seq>=?1 ORDER BY "
                                                  "last_seq LIMIT 1"));
      Use use(*s);
      s->bind(1, static_cast<int64_t>(place->position));
      REJOIN_ASSIGN(const bool row, s->step("reading a batch"));
      if (row) token = s->integer(0);
    }
    REJOIN_ASSIGN(const int64_t tail, log_tail(ctx_));
    return sync::missed_deletions(*place, token, {tail, work.state.floor, horizon.position}, marked);
  }

  // `position`: what it has; -1: not said. An idle poll writes nothing, but once a day that the device was there: one
  // that is not seen holds nothing back.
  Status note_seen(const sync::PullRequest& request, int64_t position) {
    const int64_t now = ctx_.clock.now_ms();
    {
      REJOIN_ASSIGN(Work look, Work::read(ctx_));
      REJOIN_ASSIGN(
          Statement * s,
          ctx_.statement("SELECT 1 FROM main.rejoin_device WHERE device=?3 AND site=?1 AND (acknowledged<?2 OR "
                         "last_seen NOT BETWEEN ?4 AND ?5)"));
      bool behind;
      {
        Use use(*s);
        s->bind_blob(1, request.site.view());
        s->bind(2, position);
        s->bind_text(3, request.device);
        s->bind(4, now - kDayMs);
        s->bind(5, now + kDayMs);
        REJOIN_ASSIGN(behind, s->step());
      }
      REJOIN_TRY(look.commit());
      if (!behind) return {};
    }
    REJOIN_ASSIGN(Work work, Work::write(ctx_));
    {
      REJOIN_ASSIGN(Statement * s, ctx_.statement("UPDATE main.rejoin_device SET acknowledged=max(acknowledged, ?2), "
                                                  "last_seen=?3 WHERE device=?4 AND site=?1"));
      Use use(*s);
      s->bind_blob(1, request.site.view());
      s->bind(2, position);
      s->bind(3, now);
      s->bind_text(4, request.device);
      REJOIN_TRY(s->run("noting what a device has"));
    }
    return work.commit();
  }

  Context& ctx_;
};

}  // namespace

std::unique_ptr<sync::TenantStore> make_tenant_store(Replica& replica) {
  return std::make_unique<SqliteTenantStore>(replica);
}

}  // namespace rejoin::sqlite
