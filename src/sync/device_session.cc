#include "sync/device_session.h"

#include <algorithm>
#include <utility>

namespace rejoin::sync {
namespace {

constexpr int kMostContracts = 2;
constexpr int kMostRestamps = 3;
constexpr int kMostTooLarge = 48;  // halving a value limit of 2^32 bytes down to kLeastValueCap needs 22
constexpr int kMostIdentities = 3;
constexpr int kMostStartOvers = 2;
constexpr int kMostPullRestarts = 3;
constexpr int kMostPushRestarts = 2;
constexpr int kMostAnew = 3;
constexpr int kMostIdleRounds = 8;
constexpr uint64_t kLeastValueCap = 1024;

// Refusals that have nothing to do with what is pushed: leaving the push out would not help.
bool concerns_the_whole_request(Code code) {
  switch (code) {
    case Code::unauthorized:
    case Code::unsupported:
    case Code::not_found:
    case Code::method:
    case Code::media_type:
      return true;
    default:
      return false;
  }
}

}  // namespace

DeviceSession::DeviceSession(DeviceStore& store, Random& random, DeviceOptions options)
    : store_(store), random_(random), options_(std::move(options)), chunk_bytes_(options_.chunk_bytes) {}

Instruction DeviceSession::start() { return next_request(); }

Instruction DeviceSession::on_timer() { return next_request(); }

Instruction DeviceSession::on_cancel(const Error& why) { return finish(why); }

Instruction DeviceSession::on_failure(const Error& error, int64_t retry_after_ms) {
  if (done_) return *done_;
  return react(error, retry_after_ms);
}

Instruction DeviceSession::on_response(BytesView bytes) {
  if (done_) return *done_;
  page_missed_ = true;
  Result<SyncResponse> response = decode_response(bytes, options_.limits);
  if (!response.ok()) {
    if (response.error().code == Code::unsupported) return finish(response.error());
    // Something on the way mangled or cut it. Asking again is harmless and usually helps.
    return back_off(fail(Code::network, "the server's answer is damaged: " + response.error().message +
                                            "; check for a proxy that rewrites answers"),
                    0);
  }
  ++totals_.round_trips;
  return take(std::move(*response));
}

ServerFacts DeviceSession::facts_for_push() const {
  ServerFacts facts = facts_;
  if (facts.max_frame_bytes == 0) facts.max_frame_bytes = ~uint64_t{0};
  if (facts.max_value_bytes == 0) facts.max_value_bytes = ~uint64_t{0};
  if (value_cap_ != 0) facts.max_value_bytes = std::min(facts.max_value_bytes, value_cap_);
  return facts;
}

Instruction DeviceSession::next_request() {
  if (done_) return *done_;
  SyncRequest request;
  restored_.reset();
  nonce_.clear();
  push_more_ = false;
  auto state = store_.state();
  if (!state.ok()) return react(state.error(), 0);
  if (!facts_known_) facts_ = state->facts;
  std::optional<PendingPush> pending;
  if (!push_off_) {
    const ServerFacts facts = facts_for_push();
    auto next = store_.next_push(std::min(chunk_bytes_, facts.max_frame_bytes), facts);
    if (!next.ok()) return react(next.error(), 0);
    pending = std::move(*next);
  }

  request.hello.site = state->site;
  request.hello.contract_fingerprint = state->contract_fingerprint;
  if (send_contract_) request.hello.contract_json = std::move(state->contract_json);
  request.hello.client_version = options_.client_version;
  if (pending) {
    nonce_ = pending->nonce;
    push_more_ = pending->more;
    state->chain_token = pending->chain_token;
    request.push = Push{std::move(pending->chain_token), std::move(pending->nonce), std::move(pending->frame)};
  }
  cursor_ = std::move(state->pull_cursor);
  chain_token_ = std::move(state->chain_token);
  // With a chunk that waits for its acknowledgement the token may rightly be an old one.
  const bool at_rest = !pending && !push_off_;
  request.pull = Pull{cursor_, options_.page_bytes, at_rest ? chain_token_ : Bytes(), state->pull_own,
                      at_rest && chain_token_.empty()};
  return Send{encode_request(request)};
}

Instruction DeviceSession::take(SyncResponse response) {
  restored_ = response.restored;
  const bool new_facts = !facts_known_ || facts_.may_relay != response.facts.may_relay ||
                         facts_.max_frame_bytes != response.facts.max_frame_bytes ||
                         facts_.max_value_bytes != response.facts.max_value_bytes ||
                         facts_.schema != response.facts.schema;
  // A server that answers in haste (overloaded, say) may leave its facts out.
  if (response.facts.now_ms != 0) {
    facts_ = response.facts;
    facts_known_ = true;
    if (new_facts) {
      Result<bool> kept = store_.keep_facts(facts_);
      if (!kept.ok()) return react(kept.error(), 0);
      push_more_ |= *kept;
    }
  }

  if (response.need_contract) {
    if (++since_progress_.contracts > kMostContracts)
      return finish(fail(Code::schema_refused,
                         "the server keeps asking for the contract although it was sent; is the server's "
                         "version older than this client's?"));
    send_contract_ = true;
    return next_request();
  }
  // A refusal in haste (too often, overloaded) has not looked at the contract that was asked for.
  if (!response.error) send_contract_ = false;

  ++since_progress_.idle_rounds;
  const bool pushed = !nonce_.empty();
  if (response.ack)
    if (Status taken = take_ack(*response.ack); !taken.ok()) return react(taken.error(), 0);
  if (response.page)
    if (Status taken = take_page(*response.page); !taken.ok()) {
      if (taken.error().code == Code::corrupt) return back_off(taken.error(), 0);  // damaged on the way: ask again
      if (taken.error().code != Code::gap) return react(taken.error(), 0);
      // Our place in the server's stream does not fit what it sent: read it anew from the beginning.
      if (++pull_restarts_ > kMostPullRestarts) return finish(taken.error());
      return after_store(store_.restart_pull({}), taken.error());
    }
  page_missed_ = false;
  if (response.error)
    return react(Error{response.error->code, response.error->message},
                 static_cast<int64_t>(std::min<uint64_t>(response.error->retry_after_ms, INT64_MAX)));
  if ((pushed && !nonce_.empty()) || !response.page)
    return back_off(
        fail(Code::network, "the server's answer lacks what was asked for; check for a proxy that mixes up answers"),
        0);

  since_progress_.failures = 0;
  last_failure_.reset();
  if (!push_more_ && !page_more_) return finish(push_error_);
  if (since_progress_.idle_rounds > kMostIdleRounds)
    return finish(fail(Code::internal, "the server promises more news but sends none; please report it"));
  return next_request();
}

Status DeviceSession::take_ack(const Ack& ack) {
  if (nonce_.empty() || ack.nonce != nonce_) return {};  // of another chunk; what ours lacks is noticed by the caller
  REJOIN_ASSIGN(const bool anew, store_.acknowledge(ack.nonce, ack.next_chain_token, ack.refused));
  // Else with the next sync: a server that refuses for ever must not keep the session going.
  if (anew && ++anew_ <= kMostAnew) push_more_ = true;
  nonce_.clear();
  totals_.rows_pushed += ack.rows;
  totals_.rows_refused += ack.refused.size();
  chunk_bytes_ = options_.chunk_bytes;
  value_cap_ = 0;
  progressed();
  return {};
}

Status DeviceSession::take_page(const PageMessage& page) {
  if (page.restarted && !cursor_.empty()) {
    if (++pull_restarts_ > kMostPullRestarts)
      return fail(Code::internal,
                  "the server forgets our place in its changes again and again; see its log, it may be failing to "
                  "write or be restored in a loop");
    REJOIN_TRY(store_.restart_pull(restored_));
    push_more_ |= restored_.has_value();
  }
  page_more_ = page.more;
  if (page.frame.empty() && page.evicted.empty() && page.next_cursor == cursor_) return {};
  const Bytes asked = page.restarted ? Bytes() : cursor_;
  REJOIN_ASSIGN(ApplyOutcome outcome,
                store_.apply_page(asked, page.frame, page.next_cursor, facts_.now_ms, page.evicted));
  if (outcome.moved) {
    page_more_ = true;  // from where the device is now
    progressed();
    return {};
  }
  totals_.rows_pulled += outcome.rows_seen;
  totals_.rows_changed += outcome.rows_changed;
  totals_.rows_parked += outcome.rows_parked;
  if (page.next_cursor != cursor_) progressed();
  cursor_ = page.next_cursor;
  return {};
}

void DeviceSession::progressed() { since_progress_ = {}; }

// Goes on when the store did as told.
Instruction DeviceSession::after_store(const Status& status, const Error& cause) {
  last_failure_ = cause;
  if (!status.ok()) return react(status.error(), 0);
  return next_request();
}

Instruction DeviceSession::react(const Error& error, int64_t retry_after_ms) {
  switch (error.code) {
    case Code::clock_ahead:
      if (!facts_known_ || ++since_progress_.restamps > kMostRestamps) break;
      return after_store(store_.restamp(facts_.now_ms), error);
    case Code::stale_chain:
      if (++identities_ > kMostIdentities) break;
      return after_store(store_.take_new_identity(chain_token_), error);
    case Code::unknown_chain:
      if (++start_overs_ > kMostStartOvers) break;
      return after_store(store_.start_over(chain_token_, restored_), error);
    case Code::gap:
      if (nonce_.empty() || ++push_restarts_ > kMostPushRestarts) break;
      return after_store(store_.restart_push(nonce_), error);
    case Code::too_large:
      if (nonce_.empty()) break;
      return react_to_too_large(error);
    default:
      if (code_retryable(error.code) && error.code != Code::clock_ahead && error.code != Code::interrupted)
        return back_off(error, retry_after_ms);
  }
  // For good. A push that can't go through must not keep the news away.
  if (!nonce_.empty() && !concerns_the_whole_request(error.code)) {
    push_off_ = true;
    push_error_ = error;
    return next_request();
  }
  return finish(push_error_ ? push_error_ : error);
}

// A chunk is above the server's limits. Learn the limits; send single rows; then look for the row that can't go through
// by lowering the size from which the store leaves values out (and lists them), so that one row never blocks the
// others.
Instruction DeviceSession::react_to_too_large(const Error& error) {
  const int tries = ++since_progress_.too_large;
  if (tries == 2) chunk_bytes_ = 1;
  if (tries > 2) {
    const uint64_t start = facts_.max_frame_bytes != 0 ? facts_.max_frame_bytes : uint64_t{1} << 32;
    value_cap_ = (value_cap_ != 0 ? value_cap_ : std::min(start, facts_for_push().max_value_bytes)) / 2;
  }
  if (tries > kMostTooLarge || (value_cap_ != 0 && value_cap_ < kLeastValueCap)) {
    push_off_ = true;
    push_error_ = error;
    nonce_.clear();
    return next_request();
  }
  // Restamping thaws the frozen chunk; stamps that are not ahead of the server stay as they are.
  if (facts_known_) return after_store(store_.restamp(facts_.now_ms), error);
  return back_off(error, 0);
}

Instruction DeviceSession::back_off(const Error& error, int64_t retry_after_ms) {
  last_failure_ = error;
  if (++since_progress_.failures >= options_.attempts || retry_after_ms > options_.longest_wait_ms)
    return finish(error);
  ++totals_.retries;
  const int doublings = std::min(since_progress_.failures - 1, 20);
  const int64_t ceiling =
      std::clamp<int64_t>(options_.first_backoff_ms << doublings, 2, std::max<int64_t>(options_.longest_backoff_ms, 2));
  const int64_t half = ceiling / 2;
  const int64_t jitter = static_cast<int64_t>(random_.u64() % static_cast<uint64_t>(half + 1));
  return Sleep{std::max(retry_after_ms, half + jitter)};
}

Instruction DeviceSession::finish(std::optional<Error> error) {
  if (done_) return *done_;
  const Status noted =
      store_.note_session(totals_.rows_pushed, totals_.rows_pulled, error ? error->message : std::string());
  if (!noted.ok() && !error) error = noted.error();
  done_ = Done{totals_, std::move(error)};
  return *done_;
}

}  // namespace rejoin::sync
