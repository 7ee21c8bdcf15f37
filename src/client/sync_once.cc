#include "client/sync_once.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <memory>
#include <thread>
#include <utility>
#include <variant>

#include "base/random.h"
#include "client/server_answer.h"
#include "client/server_contract.h"
#include "net/compress.h"
#include "net/http_client.h"
#include "net/url.h"

namespace rejoin::client {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr size_t kWorthCompressing = 256;
constexpr uint64_t kReplyOverhead = 64ull << 20;  // contract, cursor and refused rows around a page
constexpr std::chrono::milliseconds kCheckCancelled{100};

// It becomes part of a header.
Status check_token(const std::string& token) {
  for (char c : token)
    if (c <= ' ' || c == 0x7f)
      return fail(Code::bad_argument, "the access token has a space or a control character in it; copy it anew");
  return {};
}

// One sync under way: carries the session's instructions out.
class Sync {
 public:
  Sync(sqlite::Replica& replica, const std::string& name, net::Url url, const std::string& token,
       const SyncOptions& options)
      : options_(options),
        replica_(&replica),
        url_(std::move(url)),
        token_(token),
        store_(sqlite::make_device_store(replica, name)),
        client_(url_, client_options(options)),
        session_(*store_, system_random(), session_options(options)) {}

  SyncReport run() {
    if (options_.migrate) {
      Result<int64_t> migrated = follow_contract(*replica_, client_, token_);
      // Whatever is wrong with the network, or with the token, the session finds out and deals with.
      if (migrated.ok())
        report_.migrated = *migrated;
      else
        report_.not_migrated = migrated.error();
    }
    sync::Instruction next = session_.start();
    for (;;) {
      if (auto* done = std::get_if<sync::Done>(&next)) {
        report_.totals = done->totals;
        report_.error = std::move(done->error);
        report_.token = token_;
        return std::move(report_);
      }
      if (std::optional<Error> end = must_end())
        next = session_.on_cancel(*end);
      else if (auto* send = std::get_if<sync::Send>(&next))
        next = exchange(send->request);
      else
        next = sleep(std::get<sync::Sleep>(next).ms);
    }
  }

 private:
  static net::HttpClientOptions client_options(const SyncOptions& options) {
    net::HttpClientOptions out;
    out.ca_file = options.ca_file;
    out.cancelled = options.cancelled;
    out.max_reply_bytes = options.session.limits.frame_bytes + kReplyOverhead;
    // A server may work on one chunk for as long as its request timeout (two minutes by default).
    out.idle_timeout_ms = 150'000;
    return out;
  }

  static sync::DeviceOptions session_options(const SyncOptions& options) {
    sync::DeviceOptions out = options.session;
    if (out.client_version.empty()) out.client_version = client_version();
    return out;
  }

  std::optional<Error> must_end() const {
    if (options_.cancelled && options_.cancelled())
      return fail(Code::interrupted, "the sync was stopped; the next one goes on from here");
    if (SteadyClock::now() >= options_.deadline)
      return fail(Code::timeout, "the time for this sync is over; the next one goes on from here");
    return std::nullopt;
  }

  sync::Instruction exchange(const Bytes& request) {
    Result<net::HttpReply> reply = post(request);
    if (reply.ok() && reply->status == 401 && options_.renew_token) {
      Result<std::string> renewed = options_.renew_token();
      if (renewed.ok()) {
        if (Status good = check_token(*renewed); !good.ok()) renewed = good.error();
      }
      if (!renewed.ok()) return session_.on_cancel(fail(Code::unauthorized, renewed.error().message));
      if (*renewed != token_) {
        token_ = std::move(*renewed);
        reply = post(request);
      }
    }
    if (!reply.ok()) {
      if (std::optional<Error> end = must_end()) return session_.on_cancel(*end);
      return session_.on_failure(reply.error());
    }
    report_.bytes_received += reply->body.size();
    const std::string_view type = reply->header("content-type");
    if (!type.starts_with("application/x-protobuf"))
      return session_.on_failure(error_of_status(reply->status, url_, *reply), reply->retry_after_ms());
    if (reply->header("content-encoding") == "zstd") {
      Result<Bytes> body = net::zstd_decompress(reply->body, options_.session.limits.frame_bytes + kReplyOverhead);
      if (!body.ok())
        return session_.on_failure(fail(Code::network, "the server's answer is damaged: " + body.error().message));
      reply->body = std::move(*body);
    }
    sync::Instruction next = session_.on_response(reply->body);
    tell(0);
    return next;
  }

  Result<net::HttpReply> post(const Bytes& request) {
    net::HttpHeaders headers{{"Content-Type", "application/x-protobuf"},
                             {"Accept", "application/x-protobuf"},
                             {"Accept-Encoding", "zstd"},
                             {"User-Agent", client_version()}};
    if (!token_.empty()) headers.emplace_back("Authorization", "Bearer " + token_);
    if (compress_ && request.size() >= kWorthCompressing) {
      const Bytes packed = net::zstd_compress(request);
      if (!packed.empty() && packed.size() < request.size()) {
        headers.emplace_back("Content-Encoding", "zstd");
        report_.bytes_sent += packed.size();
        Result<net::HttpReply> reply = client_.post("/v1/sync", headers, packed, options_.deadline);
        if (!reply.ok() || reply->status != 415) return reply;
        compress_ = false;  // something on the way does not know zstd
        headers.pop_back();
      }
    }
    report_.bytes_sent += request.size();
    return client_.post("/v1/sync", std::move(headers), request, options_.deadline);
  }

  sync::Instruction sleep(int64_t ms) {
    tell(ms);
    const auto until = std::min(SteadyClock::now() + std::chrono::milliseconds(ms), options_.deadline);
    while (SteadyClock::now() < until) {
      if (std::optional<Error> end = must_end()) return session_.on_cancel(*end);
      std::this_thread::sleep_until(std::min<SteadyClock::time_point>(until, SteadyClock::now() + kCheckCancelled));
    }
    return session_.on_timer();
  }

  void tell(int64_t wait_ms) {
    if (!options_.progress) return;
    SyncProgress progress{session_.totals(), report_.bytes_sent, report_.bytes_received, std::nullopt, wait_ms};
    if (wait_ms > 0) progress.failure = session_.last_failure();
    options_.progress(progress);
  }

  const SyncOptions& options_;
  sqlite::Replica* const replica_;
  const net::Url url_;
  std::string token_;
  std::unique_ptr<sync::DeviceStore> store_;
  net::HttpClient client_;
  sync::DeviceSession session_;
  SyncReport report_;
  bool compress_ = true;
};

uint64_t count_in(const boost::json::object& status, const char* name) {
  const boost::json::value* value = status.if_contains(name);
  if (!value || !value->is_int64() || value->get_int64() < 0) return 0;
  return static_cast<uint64_t>(value->get_int64());
}

std::vector<NotSynced> not_synced_in(const boost::json::object& status) {
  std::vector<NotSynced> out;
  const boost::json::value* tables = status.if_contains("not_synced");
  if (!tables || !tables->is_array()) return out;
  for (const boost::json::value& table : tables->get_array())
    out.push_back({std::string(table.at("table").as_string()), count_in(table.as_object(), "unsent"),
                   std::string(table.at("message").as_string())});
  return out;
}

}  // namespace

Result<SyncReport> sync_once(sqlite::Replica& replica, const std::string& url, const std::string& token,
                             const SyncOptions& options) {
  REJOIN_ASSIGN(net::Url address, net::parse_url(url));
  REJOIN_TRY(check_token(token));
  SyncReport report = Sync(replica, url, std::move(address), token, options).run();
  if (const Result<std::string> status = sqlite::status_json(replica); status.ok()) {
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(*status, error);
    if (!error && value.is_object()) {
      report.pending = count_in(value.get_object(), "pending");
      report.rejected = count_in(value.get_object(), "rejected");
      report.parked = count_in(value.get_object(), "parked");
      report.not_synced = not_synced_in(value.get_object());
    }
  }
  return report;
}

static boost::json::object error_object(const Error& error) {
  return {{"code", static_cast<uint64_t>(error.code)}, {"name", code_name(error.code)}, {"message", error.message}};
}

std::string report_json(const SyncReport& report) {
  boost::json::object out;
  out["pushed"] = report.totals.rows_pushed;
  out["pulled"] = report.totals.rows_pulled;
  out["rejected"] = report.rejected;
  out["parked"] = report.parked;
  out["pending"] = report.pending;
  out["migrated"] = report.migrated;
  out["round_trips"] = report.totals.round_trips;
  out["bytes_sent"] = report.bytes_sent;
  out["bytes_received"] = report.bytes_received;
  if (report.not_migrated) out["not_migrated"] = error_object(*report.not_migrated);
  if (!report.not_synced.empty()) {
    boost::json::array tables;
    for (const NotSynced& t : report.not_synced)
      tables.push_back({{"table", t.table}, {"unsent", t.unsent}, {"message", t.message}});
    out["not_synced"] = std::move(tables);
  }
  if (report.error)
    out["error"] = error_object(*report.error);
  else
    out["error"] = nullptr;
  return boost::json::serialize(out);
}

}  // namespace rejoin::client
