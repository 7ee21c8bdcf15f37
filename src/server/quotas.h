// How much a device, and all devices of a tenant together, may push in a while: rows, and bytes of requests.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "server/rate_limit.h"

namespace rejoin::server {

// So much at once after a pause, and so much in each period in the long run. 0: no limit.
struct Quota {
  uint64_t amount = 0;
  std::string period;  // "a second", "a minute", "an hour", "a day"
  RateLimit limit() const;
};

// "100000/h", "64M/d": a number, with K, M or G behind it of powers of 1024, for each s, m, h or d. Errors:
// bad_argument.
Result<Quota> parse_quota(std::string_view text);

struct QuotaSettings {
  Quota device_rows, device_bytes, tenant_rows, tenant_bytes;
};

// Thread-safe. Kept in memory: each server counts for itself, from its start.
class Quotas {
 public:
  using Time = RateLimiter::Time;
  explicit Quotas(const QuotaSettings& settings);

  struct Refusal {
    Error error;  // quota
    int64_t wait_ms = 0;
    std::string_view scope;  // "device", "tenant"
  };
  // Before a push: has what was pushed so far used up one of them? What comes is counted afterwards, so that any push
  // goes through in the end, however large.
  std::optional<Refusal> refusal(const std::string& tenant, const std::string& device, Time now);
  void spend(const std::string& tenant, const std::string& device, uint64_t rows, uint64_t bytes, Time now);

 private:
  struct One {
    Quota quota;
    std::string_view scope, what, option;
    RateLimiter limiter;
  };
  static std::string key_of(const One& one, const std::string& tenant, const std::string& device);
  std::array<One, 4> all_;
};

}  // namespace rejoin::server
