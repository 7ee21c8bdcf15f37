#include "server/rate_limit.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

namespace rejoin::server {
namespace {

constexpr double kMostRate = 1e9;

// A whole number from 1 to kMostRate; 0 when it is none.
double count_in(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || static_cast<double>(number) > kMostRate) return 0;
  return static_cast<double>(number);
}

}  // namespace

Result<RateLimit> parse_rate_limit(std::string_view text) {
  const size_t slash = text.find('/'), colon = text.find(':');
  const std::string_view unit =
      slash == std::string_view::npos
          ? std::string_view()
          : text.substr(slash + 1, colon == std::string_view::npos ? colon : colon - slash - 1);
  const double count = slash == std::string_view::npos ? 0 : count_in(text.substr(0, slash));
  const double seconds = unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
  const double burst = colon == std::string_view::npos ? std::max(1.0, seconds == 0 ? 0 : count / seconds)
                                                       : count_in(text.substr(colon + 1));
  if (count < 1 || seconds == 0 || burst < 1)
    return fail(Code::bad_argument, "'" + std::string(text.substr(0, 80)) +
                                        "' is no rate; write N/s, N/m or N/h, and behind a colon how many may come at "
                                        "once, like 10/s:50");
  return RateLimit{count / seconds, burst};
}

RateLimiter::Bucket& RateLimiter::bucket_of(const std::string& key, Time now) {
  auto found = buckets_.find(key);
  if (found == buckets_.end()) {
    if (recent_.size() >= std::max<size_t>(most_keys_, 1)) {
      buckets_.erase(recent_.back().key);
      recent_.pop_back();
    }
    recent_.push_front({key, limit_.burst, now});
    found = buckets_.emplace(recent_.front().key, recent_.begin()).first;
  } else {
    recent_.splice(recent_.begin(), recent_, found->second);
  }
  Bucket& bucket = *found->second;
  const double passed = std::max(0.0, std::chrono::duration<double>(now - bucket.at).count());
  bucket.tokens = std::min(limit_.burst, bucket.tokens + passed * limit_.per_second);
  bucket.at = std::max(bucket.at, now);
  return bucket;
}

int64_t RateLimiter::until(const Bucket& bucket, double tokens) const {
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil((tokens - bucket.tokens) / limit_.per_second * 1000)));
}

int64_t RateLimiter::take(const std::string& key, Time now) {
  if (limit_.per_second <= 0) return 0;
  std::lock_guard lock(mutex_);
  Bucket& bucket = bucket_of(key, now);
  // A hair less than one is one: sums of fractions are not exact.
  if (bucket.tokens >= 1 - 1e-9) {
    bucket.tokens = std::max(0.0, bucket.tokens - 1);
    return 0;
  }
  return until(bucket, 1);
}

void RateLimiter::spend(const std::string& key, double amount, Time now) {
  if (limit_.per_second <= 0) return;
  std::lock_guard lock(mutex_);
  bucket_of(key, now).tokens -= amount;
}

int64_t RateLimiter::wait_ms(const std::string& key, Time now) {
  if (limit_.per_second <= 0) return 0;
  std::lock_guard lock(mutex_);
  const Bucket& bucket = bucket_of(key, now);
  return bucket.tokens > 0 ? 0 : until(bucket, 0);
}

size_t RateLimiter::keys() const {
  std::lock_guard lock(mutex_);
  return recent_.size();
}

}  // namespace rejoin::server
