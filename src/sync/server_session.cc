#include "sync/server_session.h"

#include <algorithm>
#include <utility>

namespace rejoin::sync {
namespace {

constexpr uint64_t kLeastPageBytes = 1024;

// What of the response is left when a step fails.
struct Exchange {
  const SyncRequest& request;
  const Caller& caller;
  TenantStore& store;
  const ServerSettings& settings;
  SyncResponse response;
  ServeStats stats;
  bool known_site = false;  // PushReply::known

  // False: the device has to send its contract first.
  Result<bool> contract() {
    const Hello& hello = request.hello;
    const bool may_create = settings.auto_schema && caller.may_schema;
    if (!hello.contract_json.empty()) {
      REJOIN_TRY(store.adopt_contract(hello.contract_json, may_create));
      return true;
    }
    if (hello.contract_fingerprint.empty()) return true;
    return store.knows_contract(hello.contract_fingerprint, may_create);
  }

  Status schema() {
    REJOIN_ASSIGN(const std::string fingerprint, store.contract_fingerprint());
    response.facts.schema = schema_for(view_of(caller), fingerprint);
    return {};
  }

  Status push() {
    const Push& push = *request.push;
    PushRequest want;
    want.device = caller.device;
    want.site = request.hello.site;
    want.chain_token = push.chain_token;
    want.nonce = push.nonce;
    want.frame = push.frame;
    if (request.pull) want.cursor = request.pull->cursor;
    want.may_relay = caller.may_relay;
    want.now_ms = response.facts.now_ms;
    want.drift_ms = settings.drift_ms;
    want.limits.frame_bytes = settings.max_frame_bytes;
    want.limits.value_bytes = settings.max_value_bytes;
    want.limits.rows = settings.max_frame_rows;
    want.who = &caller.who;
    Result<PushReply> answer = store.push(want);
    if (!answer.ok() && answer.error().code == Code::unknown_chain) REJOIN_TRY(restored(push.chain_token, want.cursor));
    REJOIN_ASSIGN(PushReply reply, std::move(answer));
    stats.rows_pushed = reply.outcome.rows_seen;
    stats.rows_changed = reply.outcome.rows_changed;
    stats.rows_parked = reply.outcome.rows_parked;
    stats.repeated = reply.repeated;
    known_site = reply.known;
    for (const RefusedRow& row : reply.outcome.refused) stats.refused.push_back(row.code);
    response.ack =
        Ack{push.nonce, std::move(reply.next_chain_token), std::move(reply.outcome.refused), reply.outcome.rows_seen};
    return {};
  }

  Status restored(BytesView token, BytesView cursor) {
    REJOIN_ASSIGN(response.restored, store.restored(caller.device, request.hello.site, token, cursor));
    return {};
  }

  Status pull() {
    const Pull& pull = *request.pull;
    PullRequest want;
    want.site = request.hello.site;
    want.device = caller.device;
    if (!request.push) want.chain_token = pull.chain_token, want.unpushed = pull.unpushed;
    want.pushing = request.push.has_value();
    want.cursor = pull.cursor;
    want.own = pull.own;
    want.known = known_site;
    want.who = &caller.who;
    want.max_bytes = std::clamp(pull.max_bytes != 0 ? pull.max_bytes : settings.page_bytes, kLeastPageBytes,
                                std::max(settings.max_page_bytes, kLeastPageBytes));
    Result<PullReply> reply = store.pull(want);
    bool restarted = false;
    if (!reply.ok() && !want.cursor.empty() &&
        (reply.error().code == Code::corrupt || reply.error().code == Code::unsupported ||
         reply.error().code == Code::bad_argument)) {
      // A cursor that nobody here made: a device must not be stuck with it.
      want.cursor.clear();
      restarted = true;
      reply = store.pull(want);
    }
    if (!reply.ok() && reply.error().code == Code::unknown_chain) REJOIN_TRY(restored(want.chain_token, want.cursor));
    if (!reply.ok()) return reply.error();
    // Its chain may have gone on since: what its token says is not what it said when something was lost.
    if (reply->restarted) REJOIN_TRY(restored({}, {}));
    stats.rows_pulled = reply->rows;
    stats.tables_left_out = reply->left_out.size();
    response.page = PageMessage{std::move(reply->frame),
                                std::move(reply->next_cursor),
                                reply->more,
                                restarted || reply->restarted,
                                reply->rows,
                                std::move(reply->evicted)};
    return {};
  }

  Status run() {
    REJOIN_ASSIGN(const bool known, contract());
    REJOIN_TRY(schema());
    if (!known) {
      response.need_contract = true;
      return {};
    }
    if (request.push) REJOIN_TRY(push());
    if (request.pull) REJOIN_TRY(pull());
    return {};
  }
};

}  // namespace

ServerFacts facts_of(const ServerSettings& settings, const Caller& caller, int64_t now_ms) {
  return ServerFacts{now_ms, caller.may_relay, settings.max_frame_bytes, settings.max_value_bytes, {}};
}

MessageLimits message_limits(const ServerSettings& settings) {
  MessageLimits limits;
  limits.frame_bytes = settings.max_frame_bytes;
  return limits;
}

std::string view_of(const Caller& caller) {
  Bytes view;
  if (caller.who.view != 0) put_be64(view, caller.who.view);
  return to_hex(view);
}

std::string schema_for(const std::string& view, const std::string& fingerprint) {
  return view.empty() ? fingerprint : fingerprint + "-" + view;
}

SyncResponse serve(const SyncRequest& request, const Caller& caller, TenantStore& store, const ServerSettings& settings,
                   int64_t now_ms, ServeStats* stats) {
  Exchange exchange{request, caller, store, settings, {}, {}};
  exchange.response.facts = facts_of(settings, caller, now_ms);
  if (Status done = exchange.run(); !done.ok()) {
    const Error& error = done.error();
    // An ack that was given stays: the push is durable even when the page could not be read.
    exchange.response.error = WireError{error.code, error.message, 0};
  }
  if (stats) *stats = std::move(exchange.stats);
  return std::move(exchange.response);
}

}  // namespace rejoin::sync
