#include <algorithm>

#include "codec/cursor.h"
#include "codec/newest_stamp.h"
#include "contract/contract.h"
#include "postgres/admin.h"
#include "postgres/fold.h"
#include "postgres/merge.h"
#include "postgres/page.h"
#include "postgres/purge.h"
#include "postgres/server_value.h"
#include "postgres/store.h"
#include "postgres/streams.h"
#include "sync/chain.h"
#include "sync/page_place.h"
#include "sync/published.h"

namespace rejoin::postgres {
namespace {

// So many log rows and the log is compacted by itself.
constexpr int64_t kCompactAt = 10'000;
// For what somebody holds, when a group of pushes has waited for it already.
constexpr int64_t kAloneWaitsMs = 100;
// How often a contract is begun anew, because others make or publish the same at this moment.
constexpr int kMostPublishes = 5;

class PostgresTenantStore final : public TenantStore {
 public:
  PostgresTenantStore(Connection& db, Tenant& tenant, bool auto_schema, const Impersonation& as)
      : db_(db), tenant_(tenant), auto_schema_(auto_schema), as_(as) {}

  Result<sync::PushReply> push(const sync::PushRequest& request) override {
    return with_schema([&] { return try_push(request); });
  }

  std::vector<Result<sync::PushReply>> push_together(std::span<const sync::PushRequest* const> requests) override {
    std::vector<std::optional<Result<sync::PushReply>>> replies(requests.size());
    const int64_t lock_timeout_ms = tenant_.lock_timeout_ms;
    if (requests.size() > 1) {
      if (const Status together = try_together(requests, replies); !together.ok()) {
        if (tenant_.stalled)
          return std::vector<Result<sync::PushReply>>(requests.size(), together.error());  // so it would be alone
        // Whatever went wrong, it may be one request's fault and must not be the others'.
        replies.assign(requests.size(), std::nullopt);
        // They have waited for what somebody holds, and all the tenant's pushes wait behind each of them.
        if (together.error().code == Code::busy)
          tenant_.lock_timeout_ms = lock_timeout_ms > 0 ? std::min(lock_timeout_ms, kAloneWaitsMs) : kAloneWaitsMs;
      }
    }
    std::vector<Result<sync::PushReply>> out;
    for (size_t i = 0; i < requests.size(); ++i)
      out.push_back(replies[i] ? std::move(*replies[i]) : push(*requests[i]));
    tenant_.lock_timeout_ms = lock_timeout_ms;
    return out;
  }

  Result<sync::PullReply> pull(const sync::PullRequest& request) override {
    return with_schema([&] { return try_pull(request); });
  }

  Result<sync::Restored> restored(const std::string& device, const crdt::SiteId& site, BytesView token,
                                  BytesView cursor) override {
    REJOIN_ASSIGN(Work work, Work::begin(db_, tenant_, Work::Mode::merge, [&] { send_chain(device, site); }));
    sync::Restored out{{work.sites()[Work::kOwnSite]}, 0};
    const std::optional<sync::Chain> chain = read_chain(work.along[0]);
    // Another request may have begun the chain anew meanwhile.
    const bool anew = !token.empty() && (!chain || sync::is_unknown(*chain, token));
    if (anew && chain) {
      out.through = sync::stamped_through(chain->reply);
      db_.send(
          "UPDATE rejoin.device SET counter = 0, token = '', nonce = NULL WHERE tenant = rejoin.tenant_id() AND device "
          "= $1 AND site = $2",
          Params().text(device).bytea(site.view()));
    }
    // A site that another device has brought is a copy's: it must not pass for this device's own.
    if (anew && work.state.horizon != 0 && sync::is_before(cursor, work.state.purged))
      db_.send(
          "INSERT INTO rejoin.device(tenant, device, site, counter, token, acknowledged) SELECT rejoin.tenant_id(), "
          "$1, $2, 0, '', -1 WHERE NOT EXISTS (SELECT FROM rejoin.device WHERE tenant = rejoin.tenant_id() AND site = "
          "$2 AND device <> $1) "
          "ON CONFLICT (tenant, device, site) DO UPDATE SET acknowledged = -1",
          Params().text(device).bytea(site.view()));
    REJOIN_TRY(work.commit());
    return out;
  }

  Result<std::string> contract_fingerprint() override {
    REJOIN_TRY(know_catalog());
    return contract::fingerprint(to_contract(*tenant_.catalog));
  }

  Result<std::string> contract_json() override {
    REJOIN_TRY(know_catalog());
    return contract::to_json(to_contract(*tenant_.catalog));
  }

  Result<bool> knows_contract(const std::string& fingerprint, bool may_create) override {
    REJOIN_TRY(know_catalog());
    if (contract::fingerprint(to_contract(*tenant_.catalog)) == fingerprint) return true;
    REJOIN_ASSIGN(Work look, Work::begin(db_, tenant_, Work::Mode::look));
    REJOIN_ASSIGN(Rows rows, db_.query("SELECT complete FROM rejoin.contract WHERE tenant = rejoin.tenant_id() AND "
                                       "fingerprint = $1",
                                       Params().text(fingerprint)));
    REJOIN_TRY(look.commit());
    return !rows.empty() && (!may_create || !auto_schema_ || rows.integer(0, 0) != 0);
  }

  Status adopt_contract(const std::string& json, bool may_create) override {
    REJOIN_ASSIGN(contract::Contract contract, contract::from_json(json));
    if (may_create && auto_schema_) {
      tenant_.catalog.reset();  // the newest
      REJOIN_TRY(know_catalog());
      for (const contract::Table& wanted : contract.tables) {
        const Table* have = tenant_.catalog->meant(wanted.name);
        // A table that cannot be made here must not keep the others out; its rows are refused one by one. One that
        // tenants share is not changed for one of them.
        Status made;
        if (!have)
          made = create_and_track(db_, wanted, tenant_.name, tenant_.random);
        else if (!have->tenant)
          made = add_columns(db_, *have, wanted);
        if (!made.ok() && code_retryable(made.error().code)) return made;
      }
      tenant_.catalog.reset();
    }
    {
      REJOIN_ASSIGN(Work look, Work::begin(db_, tenant_, Work::Mode::look));
      if (look.state.id != 0) {
        const bool complete = has_all(look.catalog(), contract);
        REJOIN_TRY(look.commit());
        return note_contract(look.state.id, contract, complete);
      }
      REJOIN_TRY(look.commit());
    }
    REJOIN_ASSIGN(Work work, Work::begin(db_, tenant_, Work::Mode::merge));
    send_contract(contract, has_all(work.catalog(), contract));
    return work.commit();
  }

  Result<std::string> published_contract() override {
    REJOIN_ASSIGN(Work look, Work::begin(db_, tenant_, Work::Mode::look));
    REJOIN_ASSIGN(std::string out, read_published());
    REJOIN_TRY(look.commit());
    return out;
  }

  Status publish_contract(const std::string& json) override {
    REJOIN_ASSIGN(const contract::Contract next, contract::from_json(json));
    std::string before;
    for (int tries = 1;; ++tries) {
      bool again = false;
      const Status made = make_published(next, before, again);
      if (made.ok()) break;
      if (!again || tries == kMostPublishes) return made;
    }
    tenant_.catalog.reset();
    REJOIN_TRY(adopt_contract(json, true));
    REJOIN_ASSIGN(Work work, Work::begin(db_, tenant_, Work::Mode::merge));
    for (const contract::Table& wanted : next.tables) REJOIN_TRY(check_is_here(work.catalog(), wanted));
    // Another one may have been published since.
    REJOIN_ASSIGN(const std::string now, read_published());
    if (now != before) REJOIN_TRY(sync::check_follows(now, contract::to_json(to_contract(work.catalog())), next));
    REJOIN_TRY(db_.script(publish_sql(next)));
    return work.commit();
  }

 private:
  static std::string publish_sql(const contract::Contract& next) {
    return "INSERT INTO rejoin.contract(tenant, fingerprint, json, complete) VALUES (rejoin.tenant_id(), " +
           quote_text(sync::kPublished) + ", " + quote_text(contract::to_json(next)) +
           ", true) ON CONFLICT (tenant, fingerprint) DO UPDATE SET json = EXCLUDED.json;";
  }

  // Makes what the contract adds, and publishes it in the same transaction: of several at once one is first, and what
  // does not follow it makes nothing. `before`: the one that was published. `again`: others have made, or published,
  // something meanwhile.
  Status make_published(const contract::Contract& next, std::string& before, bool& again) {
    tenant_.catalog.reset();  // the newest
    REJOIN_TRY(know_catalog());
    REJOIN_ASSIGN(before, published_contract());
    REJOIN_TRY(sync::check_follows(before, contract::to_json(to_contract(*tenant_.catalog)), next));
    for (const contract::Table& wanted : next.tables) {
      const Table* have = tenant_.catalog->meant(wanted.name);
      REJOIN_TRY(check_names(db_, have, wanted));
      REJOIN_TRY(check_defaults(db_, have, wanted));
      if (have && have->tenant) REJOIN_TRY(check_is_here(*tenant_.catalog, wanted));
    }
    REJOIN_ASSIGN(Work tenant, Work::begin(db_, tenant_, Work::Mode::merge));  // there is one from now on
    const std::string id = std::to_string(tenant.state.id);
    REJOIN_TRY(tenant.commit());
    const auto publish = [&]() -> Result<std::string> {
      REJOIN_TRY(
          db_.query("SELECT pg_advisory_xact_lock(hashtextextended('rejoin publishes for ' || $1, 0)), "
                    "set_config('rejoin.tenant', $1, true), set_config('rejoin.tenant_id', $2, true)",
                    Params().text(tenant_.name).text(id)));
      REJOIN_ASSIGN(const std::string now, read_published());
      if (now == before) return publish_sql(next);
      again = true;
      return fail(Code::busy, "another contract was published at this moment; try again");
    };
    db_.forget_error();
    const Status made = make_all(db_, *tenant_.catalog, next, tenant_.name, tenant_.random, publish);
    if (made.ok()) return {};
    const std::string& state = db_.last_error().state;
    again |= state == "42P07" || state == "42701" || state == "23505";
    if (code_retryable(made.error().code)) return made;
    return fail(Code::schema_refused, "the server cannot make what the contract adds (" + made.error().message +
                                          "), and made nothing; make it there by SQL and track it, then push again");
  }

  static bool has_all(const Catalog& catalog, const contract::Contract& contract) {
    return std::all_of(contract.tables.begin(), contract.tables.end(), [&](const contract::Table& wanted) {
      const Table* have = catalog.meant(wanted.name);
      return have && std::all_of(wanted.columns.begin(), wanted.columns.end(),
                                 [&](const contract::Column& c) { return has_column(*have, c.name); });
    });
  }
  // One that could not be fully taken (`complete`) is asked for again when a token comes that may create what is
  // missing.
  void send_contract(const contract::Contract& contract, bool complete) {
    db_.send(
        "INSERT INTO rejoin.contract(tenant, fingerprint, json, complete) VALUES (rejoin.tenant_id(), $1, $2, $3 <> 0) "
        "ON CONFLICT (tenant, fingerprint) DO UPDATE SET complete = EXCLUDED.complete",
        Params().text(contract::fingerprint(contract)).text(contract::to_json(contract)).integer(complete));
  }
  // It waits for nothing, neither for the tenant nor for a synchronous standby: one that is lost is offered again.
  Status note_contract(int64_t tenant_id, const contract::Contract& contract, bool complete) {
    begin_aside(tenant_id);
    send_contract(contract, complete);
    return end_aside();
  }
  // A transaction that acknowledges nothing, and that readers wait for.
  void begin_aside(int64_t tenant_id) {
    db_.send("BEGIN ISOLATION LEVEL READ COMMITTED");
    db_.send(
        "SELECT set_config('rejoin.tenant', $1, true), set_config('rejoin.tenant_id', $2, true), "
        "set_config('synchronous_commit', 'local', true)",
        Params().text(tenant_.name).text(std::to_string(tenant_id)));
  }
  Status end_aside() {
    db_.send("COMMIT");
    const auto done = db_.sync();
    if (done.ok()) return {};
    if (db_.usable() && db_.in_transaction()) REJOIN_TRY(db_.query("ROLLBACK"));
    return done.error();
  }
  static Status check_is_here(const Catalog& catalog, const contract::Table& wanted) {
    const Table* have = catalog.meant(wanted.name);
    const auto here = [&](const contract::Column& c) { return has_column(*have, c.name); };
    if (have && std::all_of(wanted.columns.begin(), wanted.columns.end(), here)) return {};
    return fail(Code::schema_refused, "table " + contract::quote_name(wanted.name) +
                                          (have ? " lacks columns that" : "") +
                                          " cannot be made by the server; make it there by SQL and track it, then "
                                          "push again");
  }
  Result<std::string> read_published() {
    REJOIN_ASSIGN(Rows rows, db_.query("SELECT json FROM rejoin.contract WHERE tenant = rejoin.tenant_id() AND "
                                       "fingerprint = $1",
                                       Params().text(sync::kPublished)));
    return rows.empty() ? std::string() : std::string(rows.text(0, 0));
  }

  // Tables are altered at any time, while the catalog is kept between requests. What fails for that reason is done once
  // more with the catalog as it is now.
  template <class F>
  auto with_schema(F attempt) -> decltype(attempt()) {
    db_.forget_error();
    tenant_.catalog_renewed = false;
    auto first = attempt();
    if (first.ok() || !db_.usable()) return first;
    const std::string& state = db_.last_error().state;
    const bool names = (state.starts_with("42") || state.starts_with("0A")) && !tenant_.catalog_fresh;
    if (!names && !tenant_.catalog_stale) return first;
    tenant_.catalog_stale = tenant_.catalog_renewed = true;
    return attempt();
  }

  // A chunk that is pushed, read as far as it can be before a lock is taken: damage is found here.
  struct Chunk {
    const sync::PushRequest& request;
    codec::ChangesetReader reader;
    // What the store knows of the device and of the chunk's source, asked by send_known().
    std::optional<sync::Chain> chain = std::nullopt;
    sync::Link link = {};
    const Rows* stream = nullptr;
    bool stale = false;
    bool known = false;  // it begins the chain of a site that is known by others
  };
  static Result<Chunk> open(const sync::PushRequest& request) {
    if (request.nonce.size() != 16) return fail(Code::bad_argument, "a push needs a nonce of 16 random bytes");
    REJOIN_ASSIGN(codec::ChangesetReader reader, codec::ChangesetReader::open(request.frame, request.limits));
    return Chunk{request, std::move(reader)};
  }
  static constexpr size_t kKnown = 4;  // results
  void send_known(const Chunk& chunk) {
    send_chain(chunk.request.device, chunk.request.site);
    // A site belongs to the device that brought it first.
    db_.send(
        "SELECT EXISTS (SELECT FROM rejoin.device WHERE tenant = rejoin.tenant_id() AND site = $1), EXISTS (SELECT "
        "FROM rejoin.site WHERE tenant = rejoin.tenant_id() AND site = $1)",
        Params().bytea(chunk.request.site.view()));
    send_stream(db_, chunk.reader.info().source);
    send_place(db_, chunk.request.device, chunk.request.site, chunk.request.cursor);
  }
  // `at`: the place of the first result.
  static void read_known(Chunk& chunk, const Work& work, size_t at) {
    chunk.chain = read_chain(work.along[at]);
    const bool taken = !chunk.chain && work.along[at + 1].integer(0, 0) != 0;
    chunk.known = (!chunk.chain || chunk.chain->counter == 0) && work.along[at + 1].integer(0, 1) != 0;
    chunk.link =
        sync::link_of(chunk.chain ? &*chunk.chain : nullptr, taken, chunk.request.chain_token, chunk.request.nonce);
    chunk.stream = &work.along[at + 2];
    chunk.stale = missed_deletions(work, work.along[at + 3], chunk.request.cursor);
  }
  static sync::PushReply repeated(const sync::Chain& chain) {
    sync::PushReply reply;
    reply.next_chain_token = chain.token;
    reply.outcome = sync::decode_outcome(chain.reply);
    reply.repeated = true;
    reply.known = chain.counter == 1;  // or it was not: not told any more
    return reply;
  }

  Result<sync::PushReply> try_push(const sync::PushRequest& request) {
    REJOIN_ASSIGN(Chunk chunk, open(request));
    REJOIN_ASSIGN(Work work, Work::begin(db_, tenant_, Work::Mode::merge, [&] { send_known(chunk); }));
    read_known(chunk, work, 0);
    switch (chunk.link) {
      case sync::Link::repeat:
        // What was committed may be on no synchronous standby yet. The tenant's lock is a write, and what writes waits
        // until all before it is there.
        REJOIN_TRY(work.commit());
        return repeated(*chunk.chain);
      case sync::Link::stale:
        return sync::stale_chain();
      case sync::Link::unknown:
        return sync::unknown_chain();
      case sync::Link::next:
        break;
    }
    REJOIN_ASSIGN(sync::PushReply reply, take(work, chunk));
    REJOIN_TRY(finish(work, request.now_ms));
    return reply;
  }

  // Merges the chunk and notes the device's place in its chain.
  Result<sync::PushReply> take(Work& work, const Chunk& chunk) {
    const sync::PushRequest& request = chunk.request;
    if (work.outbox_waits) REJOIN_TRY(fold(work));
    MergeOptions options;
    options.origin = request.site;
    if (!request.may_relay) options.only_site = request.site;
    options.now_ms = request.now_ms;
    options.drift_ms = request.drift_ms;
    options.limits = request.limits;
    options.stale = chunk.stale;
    REJOIN_ASSIGN(options.persona, Persona::of(work, as_, request.who, request.site));
    sync::PushReply reply;
    reply.known = chunk.known;
    REJOIN_ASSIGN(reply.outcome, apply_frame(work, chunk.reader, request.frame, *chunk.stream, options));
    keep_clock_ahead(work, chunk);
    REJOIN_TRY(tell_rows(work, options.persona, reply.outcome.refused));
    const uint64_t counter = (chunk.chain ? chunk.chain->counter : 0) + 1;
    reply.next_chain_token = sync::make_chain_token(tenant_.random, counter);
    db_.send(
        "INSERT INTO rejoin.device(tenant, device, site, counter, token, nonce, reply, last_seen) VALUES "
        "(rejoin.tenant_id(), $1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, device, site) DO UPDATE SET counter = "
        "$3, "
        "token = $4, nonce = $5, reply = $6, last_seen = $7",
        Params()
            .text(request.device)
            .bytea(request.site.view())
            .integer(static_cast<int64_t>(counter))
            .bytea(reply.next_chain_token)
            .bytea(request.nonce)
            .bytea(sync::encode_outcome(reply.outcome, work.state.last))
            .integer(request.now_ms));
    // Another may come behind it in the same transaction.
    db_.start();
    return reply;
  }

  // A stamp that this store gave before it was restored is not given once more, also when what has it only waits for
  // the rest of its transaction, or was refused.
  static void keep_clock_ahead(Work& work, const Chunk& chunk) {
    const crdt::Hlc given = codec::newest_stamp_of(chunk.reader, work.sites()[Work::kOwnSite]);
    if (given <= crdt::hlc_of_ms(chunk.request.now_ms + chunk.request.drift_ms))
      work.state.last = std::max(work.state.last, given);
  }

  Status finish(Work& work, int64_t now_ms) {
    if (work.state.tail - work.state.floor > kCompactAt) REJOIN_TRY(compact_log(work, now_ms));
    REJOIN_TRY(work.commit());
    forget_a_little(work, now_ms);
    return {};
  }

  // Behind what was asked for, which is done whatever becomes of this.
  void forget_a_little(const Work& done, int64_t now_ms) {
    (void)purge_a_little(db_, tenant_, done.state.looked_ms, now_ms).ok();
  }

  static bool same_caller(const sync::Identity* a, const sync::Identity* b) {
    return a && b && a->role == b->role && a->view == b->view;
  }

  // Replies to those that can be done together; the others get none. A failure leaves nothing done.
  Status try_together(std::span<const sync::PushRequest* const> requests,
                      std::vector<std::optional<Result<sync::PushReply>>>& replies) {
    std::vector<Chunk> chunks;
    for (const sync::PushRequest* request : requests) {
      REJOIN_ASSIGN(Chunk chunk, open(*request));
      chunks.push_back(std::move(chunk));
    }
    REJOIN_ASSIGN(Work work, Work::begin(db_, tenant_, Work::Mode::merge, [&] {
                    for (const Chunk& chunk : chunks) send_known(chunk);
                  }));
    int64_t now_ms = 0;
    for (size_t i = 0; i < chunks.size(); ++i) {
      Chunk& chunk = chunks[i];
      // What was read of a site or source is out of date when another chunk of it was taken in this transaction.
      const auto related = [&](const Chunk& c) {
        return c.request.site == chunk.request.site || c.reader.info().source == chunk.reader.info().source;
      };
      if (std::any_of(chunks.begin(), chunks.begin() + static_cast<ptrdiff_t>(i), related)) continue;
      // What the application's triggers keep for the time of a transaction is one caller's.
      if (as_.on && !same_caller(chunk.request.who, chunks[0].request.who)) continue;
      read_known(chunk, work, kKnown * i);
      if (chunk.link == sync::Link::repeat) {
        replies[i] = repeated(*chunk.chain);
      } else if (chunk.link == sync::Link::next) {
        REJOIN_ASSIGN(sync::PushReply reply, take(work, chunk));
        replies[i] = std::move(reply);
        now_ms = std::max(now_ms, chunk.request.now_ms);
      }
    }
    return finish(work, now_ms);
  }

  Status read_news(Work& look, const sync::PullRequest& request, const std::set<int64_t>& readable,
                   sync::PullReply& reply, PageNotes& notes, bool& behind) {
    REJOIN_TRY(check_chain(request));
    behind = missed_deletions(look, look.along[0], request.cursor);
    if (behind && request.pushing) {
      // What it has of forgotten rows is judged first.
      reply.next_cursor = request.cursor;
      reply.more = true;
      return {};
    }
    REJOIN_ASSIGN(Persona persona, Persona::of(look, as_, request.who, request.site));
    REJOIN_ASSIGN(reply, read_page(look, persona, request, notes, readable, behind));
    return {};
  }

  // A device that is up to date with its view learns within `recheck_ms` of what no capture tells: rows that it may see
  // now, or not any more, and which tables that were left out can be read again.
  Status recheck(const sync::PullRequest& request, const codec::Cursor& cursor, LeftOut& failing,
                 std::set<int64_t>& readable) {
    if (!as_.on || cursor.scanning || cursor.view == 0) return {};
    const int64_t now_ms = tenant_.clock.now_ms();
    if (tenant_.views_checked_ms.size() > 10'000) tenant_.views_checked_ms.clear();
    int64_t& checked_ms = tenant_.views_checked_ms[cursor.view];
    if (now_ms - checked_ms < as_.recheck_ms) return {};
    REJOIN_ASSIGN(failing, recheck_view(db_, tenant_, as_, request.who, request.site, cursor.left_out));
    for (uint64_t table : cursor.left_out)
      if (const auto id = static_cast<int64_t>(table); !failing.contains(id)) readable.insert(id);
    checked_ms = now_ms;
    return {};
  }

  Status keep_notes(const PageNotes& notes, BytesView next_cursor) {
    if (!notes.any()) return {};
    REJOIN_ASSIGN(Work work, Work::begin(db_, tenant_, Work::Mode::merge));
    const auto cursor = codec::decode_cursor(next_cursor);
    const uint64_t view = cursor ? cursor->view : 0;
    note_hidden(work, view, notes.hidden);
    note_shown(work, view, notes.shown);
    note_used(work, view, notes.whole);
    return work.commit();
  }

  // Before a page. It waits for no synchronous standby: should a failover lose it, what was captured is folded again,
  // and devices bring back what they have (docs/adr/0012). Nor does it wait for long while somebody has the tenant, a
  // push that no standby answers perhaps: pages are right without it, and show the rest.
  Status fold_what_waits(bool is_new) {
    Result<Work> work = Work::begin(db_, tenant_, is_new ? Work::Mode::merge : Work::Mode::aside);
    if (!work.ok()) return work.error().code == Code::busy && !is_new ? Status() : work.error();
    REJOIN_TRY(fold(*work));
    return work->commit();
  }

  Result<sync::PullReply> try_pull(const sync::PullRequest& request) {
    auto cursor = codec::decode_cursor(request.cursor);
    if (!cursor) return fail(Code::bad_argument, "the pull cursor is malformed; pull from the beginning");
    PageNotes notes;
    std::set<int64_t> readable;
    REJOIN_TRY(recheck(request, *cursor, notes.failing, readable));
    sync::PullReply reply;
    bool current, is_new, behind = false;
    const auto ask_place = [&] { send_place(db_, request.device, request.site, request.cursor); };
    {
      REJOIN_ASSIGN(Work look, Work::begin(db_, tenant_, Work::Mode::look, ask_place));
      is_new = look.state.id == 0;
      current = !is_new && !look.outbox_waits;
      if (current) REJOIN_TRY(read_news(look, request, readable, reply, notes, behind));
      REJOIN_TRY(look.commit());
    }
    if (!current) {
      // The tenant is new, or others have written.
      REJOIN_TRY(fold_what_waits(is_new));
      REJOIN_ASSIGN(Work look, Work::begin(db_, tenant_, Work::Mode::look, ask_place));
      REJOIN_TRY(read_news(look, request, readable, reply, notes, behind));
      REJOIN_TRY(look.commit());
    }
    if (behind && request.pushing) return reply;
    for (auto& failing : notes.failing) reply.left_out.push_back(std::move(failing.second));
    if (request.cursor.empty())  // once for each device that begins
      for (const Table& table : tenant_.catalog->unserved)
        reply.left_out.push_back(fail(Code::schema_refused, why_unserved(table)));
    reply.withheld = std::move(notes.withheld);
    REJOIN_TRY(keep_notes(notes, reply.next_cursor));
    // Only a cursor that this store gave out says what the device has.
    const bool has = !cursor->scanning && cursor->position > 0 && !reply.restarted && !behind;
    REJOIN_TRY(note_seen(request, has ? static_cast<int64_t>(cursor->position) : -1));
    return reply;
  }

  // Reads the catalog when it is not known yet; every transaction looks whether it is still the newest.
  Status know_catalog() {
    if (tenant_.catalog) return {};
    REJOIN_ASSIGN(Catalog catalog, load_catalog(db_, tenant_.name));
    tenant_.catalog = std::make_shared<const Catalog>(std::move(catalog));
    return {};
  }

  void send_chain(const std::string& device, const crdt::SiteId& site) {
    db_.send(
        "SELECT counter, token, nonce, reply FROM rejoin.device WHERE tenant = rejoin.tenant_id() AND device = $1 AND "
        "site = $2",
        Params().text(device).bytea(site.view()));
  }

  static std::optional<sync::Chain> read_chain(const Rows& rows) {
    if (rows.empty()) return std::nullopt;
    return sync::Chain{static_cast<uint64_t>(rows.integer(0, 0)), Bytes(rows.bytes(0, 1)), Bytes(rows.bytes(0, 2)),
                       Bytes(rows.bytes(0, 3))};
  }

  Status check_chain(const sync::PullRequest& request) {
    if (request.chain_token.empty() && !request.unpushed) return {};
    send_chain(request.device, request.site);
    REJOIN_ASSIGN(std::vector<Rows> all, db_.sync());
    const std::optional<sync::Chain> chain = read_chain(all.back());
    return sync::check_pull(chain ? &*chain : nullptr, request.chain_token, request.unpushed);
  }

  // `position`: what it has; -1: not said. An idle poll writes nothing, but once a day that the device was there: one
  // that is not seen holds nothing back. The page waits for it, so it waits for nothing: neither for the tenant, whose
  // pushes may have no synchronous standby to be acknowledged by, nor for such a standby. What is not noted, or lost,
  // comes with the next pull.
  Status note_seen(const sync::PullRequest& request, int64_t position) {
    constexpr int64_t kDayMs = int64_t{24} * 3600 * 1000;
    const int64_t now = tenant_.clock.now_ms();
    REJOIN_ASSIGN(Work look, Work::begin(db_, tenant_, Work::Mode::look));
    REJOIN_ASSIGN(Rows rows, db_.query("SELECT EXISTS (SELECT FROM rejoin.device WHERE tenant = rejoin.tenant_id() AND "
                                       "device = $1 AND site = $2 AND (acknowledged < $3 OR last_seen NOT BETWEEN $4 "
                                       "AND $5))",
                                       Params()
                                           .text(request.device)
                                           .bytea(request.site.view())
                                           .integer(position)
                                           .integer(now - kDayMs)
                                           .integer(now + kDayMs)));
    REJOIN_TRY(look.commit());
    if (rows.integer(0, 0) == 0) return {};
    begin_aside(look.state.id);
    db_.send(
        "UPDATE rejoin.device SET acknowledged = greatest(acknowledged, $3), last_seen = $4 WHERE tenant = "
        "rejoin.tenant_id() AND device = $1 AND site = $2 AND EXISTS (SELECT FROM rejoin.device WHERE tenant = "
        "rejoin.tenant_id() AND device = $1 AND site = $2 FOR NO KEY UPDATE SKIP LOCKED)",
        Params().text(request.device).bytea(request.site.view()).integer(position).integer(now));
    REJOIN_TRY(end_aside());
    forget_a_little(look, now);
    return {};
  }

  Connection& db_;
  Tenant& tenant_;
  bool auto_schema_;
  const Impersonation as_;
};

}  // namespace

std::unique_ptr<TenantStore> make_tenant_store(Connection& db, Tenant& tenant, bool auto_schema,
                                               const Impersonation& as) {
  return std::make_unique<PostgresTenantStore>(db, tenant, auto_schema, as);
}

}  // namespace rejoin::postgres
