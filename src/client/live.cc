#include "client/live.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/random.h"
#include "client/live_socket.h"
#include "client/server_answer.h"
#include "client/server_contract.h"

namespace rejoin::client {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLook{100};
constexpr int64_t kFirstBackoff = 500;
// The file was locked by the application for longer than SQLite waits.
constexpr milliseconds kLookAgain{500};
// The server is told now and then how far this device has come, so that it need not keep its log for it.
constexpr milliseconds kAcknowledge{5 * 60'000};
// A push that the server refused for good is tried again after a while.
constexpr milliseconds kPushAgain{10 * 60'000};
// A token is renewed when a fifth of its time is left, or so much.
constexpr int64_t kRenewAhead = 60'000;
constexpr milliseconds kRenewAgain{5'000};
constexpr uint16_t kCloseExpired = 4401, kCloseForbidden = 4403;

bool ends_for_good(Code code) {
  switch (code) {
    case Code::unauthorized:
    case Code::forbidden:
    case Code::unsupported:
    case Code::not_found:
    case Code::method:
    case Code::media_type:
    case Code::bad_argument:
      return true;
    default:
      return false;
  }
}

class Live {
 public:
  Live(sqlite::Database& database, const std::string& name, net::Url url, const LiveOptions& options)
      : options_(options),
        url_(std::move(url)),
        database_(database),
        store_(sqlite::make_device_store(database.replica(), name)) {
    session_options_ = options.session;
    if (session_options_.client_version.empty()) session_options_.client_version = client_version();
  }

  Status run() {
    int failures = 0;
    while (!cancelled()) {
      const Error why = connected(failures);
      socket_.reset();
      if (cancelled()) break;
      if (ends_for_good(why.code)) return why;
      const int64_t ceiling = std::min(kFirstBackoff << std::min(failures, 16), options_.longest_backoff_ms);
      ++failures;
      const auto jitter = static_cast<int64_t>(system_random().u64() % static_cast<uint64_t>(ceiling / 2 + 1));
      const int64_t ms = std::max(ceiling / 2 + jitter, retry_after_ms_);
      if (soon_) {
        soon_ = false;
        continue;
      }
      told(LiveWaiting{why, ms});
      const auto until = SteadyClock::now() + milliseconds(ms);
      while (!cancelled() && SteadyClock::now() < until)
        std::this_thread::sleep_until(std::min<SteadyClock::time_point>(until, SteadyClock::now() + kLook));
    }
    return {};
  }

 private:
  bool cancelled() const { return options_.cancelled && options_.cancelled(); }
  void told(const LiveTold& what) const {
    if (options_.told) options_.told(what);
  }

  // One connection, from its start to its end. `failures` counts from 0 again once it worked.
  Error connected(int& failures) {
    retry_after_ms_ = 0;
    token_ = options_.token ? options_.token() : std::string();
    if (Status opened = open(); !opened.ok()) return opened.error();
    told(connected_);
    if (!options_.topics.empty()) {
      sync::LiveRequest request;
      request.listen = options_.topics;
      socket_->send(sync::encode_live_request(request));
    }
    exchange_ = true;
    for (;;) {
      if (cancelled()) {
        socket_->close();
        return fail(Code::interrupted, "stopped");
      }
      if (Status written = look_for_writes(); !written.ok()) {
        if (written.error().code != Code::busy) return written.error();
        again_at_ = std::min(again_at_, SteadyClock::now() + kLookAgain);
      }
      if (exchange_) {
        if (Status done = exchange(); !done.ok()) return why_closed(done.error());
        failures = 0;
        continue;
      }
      renew();
      Result<std::optional<Bytes>> message = socket_->receive(SteadyClock::now() + milliseconds(options_.look_ms));
      if (!message.ok()) return why_closed(message.error());
      if (!*message) continue;
      if (Status done = take(**message); !done.ok()) return done.error();
    }
  }

  Status open() {
    connected_ = {};
    if (options_.migrate) {
      net::HttpClientOptions http;
      http.ca_file = options_.ca_file;
      http.cancelled = options_.cancelled;
      net::HttpClient client(url_, http);
      // What stands in the way is no reason not to connect.
      Result<int64_t> migrated = follow_contract(database_.replica(), client, token_);
      if (migrated.ok())
        connected_.migrated = *migrated;
      else
        connected_.not_migrated = migrated.error();
    }
    REJOIN_ASSIGN(socket_, open_live_socket(url_, token_, options_.ca_file, options_.cancelled, retry_after_ms_));
    expires_at_ = SteadyClock::time_point::max();
    return {};
  }

  // The close code says more than that the connection is gone.
  Error why_closed(const Error& error) {
    const uint16_t code = socket_->close_code();
    if (code == kCloseForbidden) return fail(Code::forbidden, error.message);
    if (code != kCloseExpired) return error;
    // With a fresh token at once; the old one would not get in any more.
    if (options_.token && options_.token() != token_) soon_ = true;
    return fail(soon_ ? Code::network : Code::unauthorized, error.message);
  }

  // Writes of other connections to the file, the application's.
  Status look_for_writes() {
    REJOIN_ASSIGN(const int64_t version, database_.data_version());
    const bool again = SteadyClock::now() >= again_at_;
    if (exchange_ || (version == version_ && !again)) {
      if (exchange_) version_ = version;
      return {};
    }
    version_ = version;
    if (again) {
      again_at_ = SteadyClock::time_point::max();
      exchange_ = true;
      return {};
    }
    REJOIN_ASSIGN(const sync::DeviceState state, store_->state());
    // Another process has synced this file, or a discard wants everything pulled.
    if (state.pull_cursor != cursor_) exchange_ = true;
    sync::ServerFacts facts = state.facts;
    if (facts.max_value_bytes == 0) facts.max_value_bytes = ~uint64_t{0};
    REJOIN_ASSIGN(const std::optional<sync::PendingPush> pending,
                  store_->next_push(std::min(session_options_.chunk_bytes,
                                             facts.max_frame_bytes != 0 ? facts.max_frame_bytes : ~uint64_t{0}),
                                    facts));
    if (pending && again_at_ == SteadyClock::time_point::max()) exchange_ = true;
    return {};
  }

  // As many round trips as it takes until neither side has more.
  Status exchange() {
    exchange_ = false;
    sync::DeviceSession session(*store_, system_random(), session_options_);
    sync::Instruction next = session.start();
    std::optional<Error> broken;
    int64_t wait_ms = 0;
    for (;;) {
      if (auto* done = std::get_if<sync::Done>(&next)) {
        const bool refused = done->error && !broken && !code_retryable(done->error->code) &&
                             (done->error->code == Code::forbidden || !ends_for_good(done->error->code));
        const bool locked = done->error && done->error->code == Code::busy;
        if (locked) wait_ms = std::max<int64_t>(wait_ms, kLookAgain.count());
        const bool later = done->error && !broken && wait_ms > 0;
        if (!done->error || refused || later) {
          // A push that cannot go through does not keep the news away.
          again_at_ = refused ? SteadyClock::now() + kPushAgain : SteadyClock::time_point::max();
          if (later) again_at_ = SteadyClock::now() + milliseconds(wait_ms << std::min(waits_++, 5));
          if (!done->error) waits_ = 0;
          told(LiveSynced{done->totals, done->error});
          cursor_ = session.place();
          astray_ = session.page_missed();
          acknowledge_at_ = SteadyClock::time_point::max();
          return {};
        }
        return broken ? *broken : *done->error;
      }
      // The server, or the file, is busy: the connection stays, and the exchange is made anew a little later.
      if (const auto* sleep = std::get_if<sync::Sleep>(&next)) {
        wait_ms = sleep->ms;
        next = session.on_cancel(session.last_failure().value_or(fail(Code::network, "the server is busy")));
        continue;
      }
      socket_->send(sync::wrap_sync_request(std::get<sync::Send>(next).request));
      Result<Bytes> response = await_response();
      if (response.ok()) {
        next = session.on_response(*response);
      } else {
        broken = response.error();
        next = session.on_cancel(*broken);
      }
    }
  }

  // What comes before it was sent before the server read the request: pages among it begin where this request did.
  Result<Bytes> await_response() {
    const auto until = SteadyClock::now() + milliseconds(150'000);
    for (;;) {
      REJOIN_ASSIGN(std::optional<Bytes> message, socket_->receive(until));
      if (cancelled()) {
        socket_->close();
        return fail(Code::interrupted, "the sync was stopped; the next one goes on from here");
      }
      if (!message && SteadyClock::now() < until) continue;
      if (!message) return fail(Code::timeout, "no answer from " + url_.text() + " within the time allowed");
      REJOIN_ASSIGN(sync::LiveEvent event, sync::decode_live_event(*message, session_options_.limits));
      note(event);
      if (event.response) return std::move(*event.response);
    }
  }

  Status take(const Bytes& message) {
    Result<sync::LiveEvent> event = sync::decode_live_event(message, session_options_.limits);
    if (!event.ok()) return fail(Code::network, "the server's message is damaged: " + event.error().message);
    note(*event);
    if (!event->page) return {};
    Status done = take_page(*event->page);
    if (done.ok() || done.error().code != Code::busy) return done;
    // The exchange brings it.
    exchange_ = true;
    return {};
  }

  void note(const sync::LiveEvent& event) {
    if (event.message) told(*event.message);
    if (event.expires_in_ms != 0) {
      const auto left = static_cast<int64_t>(std::min<uint64_t>(event.expires_in_ms, uint64_t{1} << 40));
      expires_at_ = SteadyClock::now() + milliseconds(left - std::min(left / 5, kRenewAhead));
    }
  }

  // Anything about it that is out of the ordinary is for an exchange.
  Status take_page(BytesView bytes) {
    Result<sync::SyncResponse> response = sync::decode_response(bytes, session_options_.limits);
    if (!response.ok()) return fail(Code::network, "the server's message is damaged: " + response.error().message);
    if (!response->page || astray_) return {};
    REJOIN_ASSIGN(const bool push_again, store_->keep_facts(response->facts));
    exchange_ |= push_again;
    const sync::PageMessage& page = *response->page;
    if (page.restarted) {
      exchange_ = true;
      return {};
    }
    Result<sync::ApplyOutcome> applied =
        store_->apply_page(cursor_, page.frame, page.next_cursor, response->facts.now_ms, page.evicted);
    if (!applied.ok()) {
      const Code code = applied.error().code;
      if (code != Code::gap && code != Code::corrupt) return applied.error();
      exchange_ = true;
      return {};
    }
    if (applied->moved) {
      exchange_ = true;
      return {};
    }
    cursor_ = page.next_cursor;
    if (acknowledge_at_ == SteadyClock::time_point::max()) acknowledge_at_ = SteadyClock::now() + kAcknowledge;
    LiveSynced synced;
    synced.totals.rows_pulled = applied->rows_seen;
    synced.totals.rows_changed = applied->rows_changed;
    synced.totals.rows_parked = applied->rows_parked;
    if (applied->rows_seen != 0) {
      told(synced);
      REJOIN_TRY(store_->note_session(0, applied->rows_seen, {}));
    }
    return {};
  }

  void renew() {
    const auto now = SteadyClock::now();
    if (now >= acknowledge_at_) exchange_ = true;
    if (now < expires_at_ || !options_.token) return;
    expires_at_ = now + kRenewAgain;
    std::string fresh = options_.token();
    if (fresh == token_ || fresh.empty()) return;
    token_ = std::move(fresh);
    sync::LiveRequest request;
    request.token = token_;
    socket_->send(sync::encode_live_request(request));
  }

  const LiveOptions& options_;
  const net::Url url_;
  sqlite::Database& database_;
  const std::unique_ptr<sync::DeviceStore> store_;
  sync::DeviceOptions session_options_;
  std::unique_ptr<net::WebSocketClient> socket_;
  std::string token_;
  LiveConnected connected_;  // what is told of this connection
  Bytes cursor_;             // where the next page has to begin
  int64_t version_ = 0;
  bool astray_ = false;    // the server's next page is not the one that the file needs: an exchange comes first
  bool exchange_ = false;  // one is due
  bool soon_ = false;      // connect again without waiting
  int waits_ = 0;          // exchanges in a row that were put off
  int64_t retry_after_ms_ = 0;
  SteadyClock::time_point expires_at_ = SteadyClock::time_point::max();
  SteadyClock::time_point acknowledge_at_ = SteadyClock::time_point::max();
  SteadyClock::time_point again_at_ = SteadyClock::time_point::max();
};

}  // namespace

Status run_live(sqlite::Database& database, const std::string& url, const LiveOptions& options) {
  REJOIN_ASSIGN(net::Url address, net::parse_url(url));
  return Live(database, url, std::move(address), options).run();
}

}  // namespace rejoin::client
