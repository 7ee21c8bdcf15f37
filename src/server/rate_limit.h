// How often one device, or one tenant, may ask: a token bucket for each (as in Turner 1986, "New directions in
// communications"), of which only so many are remembered.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"

namespace rejoin::server {

struct RateLimit {
  double per_second = 0;  // 0: no limit
  double burst = 0;       // how many may come at once after a pause; at least 1
};

// "10/s", "600/m", "10/s:50" (with a burst; without one it is what a second allows, at least 1). Errors: bad_argument.
Result<RateLimit> parse_rate_limit(std::string_view text);

// Thread-safe. Remembers `most_keys` buckets; beyond that the one that was not asked for longest is forgotten, which
// gives its key a full bucket again.
class RateLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;
  explicit RateLimiter(RateLimit limit, size_t most_keys = 1 << 16) : limit_(limit), most_keys_(most_keys) {}

  const RateLimit& limit() const { return limit_; }
  // Takes one token: 0. With none there: in how many milliseconds there will be one, and nothing is taken.
  int64_t take(const std::string& key, Time now);
  // Takes so many, whether they are there or not: a debt that time pays back.
  void spend(const std::string& key, double amount, Time now);
  // In how many milliseconds there will be something again; 0 when there is.
  int64_t wait_ms(const std::string& key, Time now);
  size_t keys() const;

 private:
  struct Bucket {
    std::string key;
    double tokens;
    Time at;
  };
  // Filled up to `now`. The mutex is held.
  Bucket& bucket_of(const std::string& key, Time now);
  int64_t until(const Bucket& bucket, double tokens) const;

  const RateLimit limit_;
  const size_t most_keys_;
  mutable std::mutex mutex_;
  std::list<Bucket> recent_;                                                   // the one asked for last first
  std::unordered_map<std::string_view, std::list<Bucket>::iterator> buckets_;  // views of the keys in recent_
};

}  // namespace rejoin::server
