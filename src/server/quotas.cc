#include "server/quotas.h"

#include <charconv>

namespace rejoin::server {
namespace {

struct Period {
  std::string_view letter, name;
  double seconds;
};
constexpr Period kPeriods[] = {
    {"s", "a second", 1}, {"m", "a minute", 60}, {"h", "an hour", 3600}, {"d", "a day", 86'400}};
constexpr uint64_t kMostAmount = uint64_t{1} << 50;

// "1,234,567"
std::string grouped(uint64_t n) {
  std::string out = std::to_string(n);
  for (size_t at = out.size(); at > 3; at -= 3) out.insert(at - 3, ",");
  return out;
}

}  // namespace

RateLimit Quota::limit() const {
  for (const Period& p : kPeriods)
    if (period == p.name) return {static_cast<double>(amount) / p.seconds, static_cast<double>(amount)};
  return {};
}

Result<Quota> parse_quota(std::string_view text) {
  const Error wrong =
      fail(Code::bad_argument, "'" + std::string(text.substr(0, 80)) +
                                   "' is no quota; write how much for each s, m, h or d, like 100000/h or 64M/d");
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return wrong;
  std::string_view number = text.substr(0, slash);
  uint64_t unit = 1;
  if (!number.empty())
    if (const size_t which = std::string_view("KMG").find(number.back()); which != std::string_view::npos) {
      unit = uint64_t{1} << (10 * (which + 1));
      number.remove_suffix(1);
    }
  Quota quota;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), quota.amount);
  if (error != std::errc() || end != number.data() + number.size() || quota.amount == 0 ||
      quota.amount > kMostAmount / unit)
    return wrong;
  quota.amount *= unit;
  for (const Period& p : kPeriods)
    if (text.substr(slash + 1) == p.letter) quota.period = p.name;
  if (quota.period.empty()) return wrong;
  return quota;
}

Quotas::Quotas(const QuotaSettings& s)
    : all_{One{s.device_rows, "device", "rows", "--quota-device-rows", RateLimiter(s.device_rows.limit())},
           One{s.device_bytes, "device", "bytes", "--quota-device-bytes", RateLimiter(s.device_bytes.limit())},
           One{s.tenant_rows, "tenant", "rows", "--quota-tenant-rows", RateLimiter(s.tenant_rows.limit())},
           One{s.tenant_bytes, "tenant", "bytes", "--quota-tenant-bytes", RateLimiter(s.tenant_bytes.limit())}} {}

std::string Quotas::key_of(const One& one, const std::string& tenant, const std::string& device) {
  return one.scope == "tenant" ? tenant : tenant + '\0' + device;  // nobody's names have a NUL in them
}

std::optional<Quotas::Refusal> Quotas::refusal(const std::string& tenant, const std::string& device, Time now) {
  for (One& one : all_) {
    const int64_t wait_ms = one.limiter.wait_ms(key_of(one, tenant, device), now);
    if (wait_ms == 0) continue;
    return Refusal{
        fail(Code::quota, "this " + std::string(one.scope) + " has pushed more than the " + grouped(one.quota.amount) +
                              " " + std::string(one.what) + " " + one.quota.period + " that it may (" +
                              std::string(one.option) + "); its writes are kept, there is room again in " +
                              std::to_string((wait_ms + 999) / 1000) + " s"),
        wait_ms, one.scope};
  }
  return std::nullopt;
}

void Quotas::spend(const std::string& tenant, const std::string& device, uint64_t rows, uint64_t bytes, Time now) {
  for (One& one : all_)
    one.limiter.spend(key_of(one, tenant, device), static_cast<double>(one.what == "rows" ? rows : bytes), now);
}

}  // namespace rejoin::server
