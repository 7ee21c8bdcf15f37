#include "server/jwks_fetcher.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <exception>
#include <utility>

#include "server/jwks.h"

namespace rejoin::server {
namespace {

net::HttpClientOptions client_options(const JwksFetchOptions& options) {
  net::HttpClientOptions out;
  out.connect_timeout_ms = out.idle_timeout_ms = options.timeout_ms;
  out.max_reply_bytes = kMostJwksBytes;
  out.ca_file = options.ca_file;
  return out;
}

// Seconds of "max-age=600", in milliseconds; 0 when it says nothing.
int64_t max_age_ms(std::string_view cache_control) {
  const size_t at = cache_control.find("max-age=");
  if (at == std::string_view::npos) return 0;
  int64_t seconds = 0;
  const std::string_view text = cache_control.substr(at + 8);
  if (std::from_chars(text.data(), text.data() + text.size(), seconds).ec != std::errc()) return 0;
  return std::clamp<int64_t>(seconds, 0, 86'400) * 1000;
}

}  // namespace

struct JwksFetcher::Fetched {
  std::shared_ptr<const KeySet> keys;
  size_t own = 0;  // keys that are not among the fixed ones
  int64_t max_age_ms = 0;
  std::vector<std::string> refused;
};

Result<net::Url> parse_jwks_url(std::string_view text) {
  Result<net::Url> url = net::parse_url(text);
  if (!url.ok()) return fail(Code::bad_argument, "the address of the keys cannot be used: " + url.error().message);
  if (!url->tls && !net::is_loopback_host(url->host))
    return fail(Code::bad_argument,
                "keys from '" + std::string(text.substr(0, 200)) +
                    "' could be exchanged on their way, since http is not encrypted; use https (http is for this "
                    "machine only)");
  return url;
}

JwksFetcher::JwksFetcher(net::Url url, KeySet fixed, JwksFetchOptions options, Log& log)
    : fixed_(std::move(fixed)),
      options_(std::move(options)),
      log_(log),
      client_(std::move(url), client_options(options_)),
      keys_(std::make_shared<const KeySet>(fixed_)),
      retry_ms_(options_.first_retry_ms) {
  thread_ = std::thread([this] { run(); });
  std::unique_lock lock(mutex_);
  first_.wait(lock, [this] { return !fetching_; });
}

JwksFetcher::~JwksFetcher() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  client_.cancel();
  thread_.join();
}

int64_t JwksFetcher::now() const {
  if (options_.now_ms) return options_.now_ms();
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::shared_ptr<const KeySet> JwksFetcher::keys() {
  std::lock_guard lock(mutex_);
  return keys_;
}

Status JwksFetcher::missing() {
  std::lock_guard lock(mutex_);
  const bool may_ask = !fetching_ && !asked_ && now() - last_ms_ >= options_.pause_ms;
  if (may_ask) {
    asked_ = true;
    wake_.notify_all();
  }
  if (asked_ || fetching_)
    return fail(Code::overloaded,
                "the key of this access token is not known yet; the keys are being fetched, try again in a second");
  if (failed_)
    return fail(Code::overloaded,
                "the key of this access token is not known, and the keys cannot be fetched right now; try again later");
  return {};
}

Status JwksFetcher::ready() const {
  std::lock_guard lock(mutex_);
  if (succeeded_) return {};
  return fail(Code::overloaded, "the keys of the access tokens could not be fetched yet; see the log");
}

void JwksFetcher::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    fetching_ = true;
    asked_ = false;
    lock.unlock();
    const Result<Fetched> fetched = fetch();
    lock.lock();
    last_ms_ = now();
    failed_ = !fetched.ok();
    if (fetched.ok()) {
      keep(*fetched);
    } else {
      // The last good set stays: an identity service that is away must not lock everybody out.
      due_ms_ = last_ms_ + (succeeded_ ? options_.pause_ms : retry_ms_);
      retry_ms_ = std::min(2 * retry_ms_, options_.pause_ms);
    }
    fetching_ = false;
    first_.notify_all();
    const auto pause = std::chrono::milliseconds(std::max<int64_t>(due_ms_ - last_ms_, 1));
    lock.unlock();
    tell(fetched);  // when it holds: who reads it may ask at once
    lock.lock();
    wake_.wait_for(lock, pause, [this] { return stopping_ || asked_; });
  }
}

void JwksFetcher::tell(const Result<Fetched>& fetched) {
  if (fetched.ok()) {
    for (const std::string& why : fetched->refused) log_.write(LogLevel::warning, "jwks_key_refused", {{"why", why}});
    log_.write(fetched->own == 0 ? LogLevel::warning : LogLevel::info, "jwks_fetched",
               {{"url", client_.url().text()}, {"keys", fetched->own}});
  } else if (fetched.error().code != Code::interrupted) {
    log_.write(LogLevel::warning, "jwks_failed",
               {{"error", std::string(code_name(fetched.error().code))}, {"message", fetched.error().message}});
  }
}

void JwksFetcher::keep(const Fetched& fetched) {
  keys_ = fetched.keys;
  succeeded_ = true;
  const int64_t fresh = fetched.max_age_ms == 0 ? options_.fresh_ms : fetched.max_age_ms;
  due_ms_ = last_ms_ + std::clamp(fresh, options_.fresh_ms, std::max(options_.fresh_ms, options_.longest_ms));
}

Result<JwksFetcher::Fetched> JwksFetcher::fetch() {
  try {
    return fetch_once();
  } catch (const std::exception& e) {
    return fail(Code::internal, std::string("fetching the keys failed: ") + e.what());
  }
}

Result<JwksFetcher::Fetched> JwksFetcher::fetch_once() {
  const std::string name = "the key set of " + client_.url().text() + " ";
  net::HttpCall call;
  call.method = "GET";
  call.path = client_.url().prefix.empty() ? "/" : "";
  // Minutes pass until the next one: a kept connection would be dead by then.
  call.headers = {{"Accept", "application/json, application/jwk-set+json"}, {"Connection", "close"}};
  call.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.timeout_ms);
  REJOIN_ASSIGN(const net::HttpReply reply, client_.send(call));
  if (reply.status != 200)
    return fail(Code::network, name + "was answered with status " + std::to_string(reply.status) +
                                   "; check the address (redirects are not followed)");
  Result<Jwks> set = parse_jwks(reply.body);
  if (!set.ok()) return fail(set.error().code, name + set.error().message);
  auto all = std::make_shared<KeySet>(fixed_);
  if (Status added = all->add(set->keys); !added.ok())
    return fail(added.error().code, name + "cannot be used: " + added.error().message);
  return Fetched{std::move(all), set->keys.size(), max_age_ms(reply.header("cache-control")), std::move(set->refused)};
}

}  // namespace rejoin::server
