#include "server/exchange.h"

#include "base/bytes.h"
#include "server/utf8.h"

namespace rejoin::server {

Result<sync::SyncResponse> run_exchange(const ExchangeParts& parts, const std::string& tenant, sync::Caller& caller,
                                        const sync::SyncRequest& request,
                                        std::chrono::steady_clock::time_point deadline, double queued_seconds,
                                        sync::ServeStats& stats) {
  if (caller.device.empty()) caller.device = to_hex(request.hello.site.view());
  sync::SyncResponse response;
  const auto asked = std::chrono::steady_clock::now();
  if (request.push)
    if (const auto refusal = parts.quotas.refusal(tenant, caller.device, asked)) {
      parts.metrics.rate_limited(refusal->scope);
      return sync::error_response(refusal->error, sync::facts_of(parts.settings.sync, caller, parts.clock.now_ms()),
                                  static_cast<uint64_t>(refusal->wait_ms));
    }
  const Status used = parts.tenants.with(tenant, deadline, [&](sync::TenantStore& store) -> Status {
    response = sync::serve(request, caller, store, parts.settings.sync, parts.clock.now_ms(), &stats);
    return {};
  });
  if (!used.ok()) return used.error();
  const std::chrono::duration<double> in_store = std::chrono::steady_clock::now() - asked;
  parts.metrics.exchange(stats, request.push.has_value(), request.pull.has_value(), in_store.count(), queued_seconds);
  if (stats.rows_changed + stats.rows_parked > 0 && parts.tenants.grown && !parts.tenants.tells_growth())
    parts.tenants.grown(tenant);
  if (response.ack && !stats.repeated)
    parts.quotas.spend(tenant, caller.device, stats.rows_pushed, request.push->frame.size(), asked);
  if (response.error) {
    // The store was interrupted because the request's time is up.
    if (response.error->code == Code::interrupted && std::chrono::steady_clock::now() >= deadline)
      response.error = sync::WireError{Code::timeout, "the exchange took longer than this server allows; try again", 0};
    if (code_retryable(response.error->code) && response.error->code != Code::clock_ahead)
      response.error->retry_after_ms = kRetryAfterMs;
  }
  return response;
}

void make_texts_valid(sync::SyncResponse& response) {
  if (response.error) response.error->message = clean_utf8(response.error->message);
  if (response.ack)
    for (sync::RefusedRow& row : response.ack->refused)
      for (std::string* text : {&row.table, &row.key_json, &row.reason})
        if (!valid_utf8(*text)) *text = clean_utf8(*text);
}

}  // namespace rejoin::server
