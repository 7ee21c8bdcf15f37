// One exchange of a known caller, whatever brought it: against the tenant's store, counted, and fit to be sent.
#pragma once

#include <chrono>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "server/metrics.h"
#include "server/quotas.h"
#include "server/settings.h"
#include "server/tenants.h"
#include "sync/messages.h"
#include "sync/server_session.h"

namespace rejoin::server {

inline constexpr int64_t kRetryAfterMs = 1000;

// What an exchange works with. All thread-safe.
struct ExchangeParts {
  const Settings& settings;
  Tenants& tenants;
  Metrics& metrics;
  Clock& clock;
  Quotas& quotas;
};

// `caller.device` may be empty (development mode): then the site names the device. Errors: those of Tenants::with; what
// goes wrong within the exchange is the response's error.
Result<sync::SyncResponse> run_exchange(const ExchangeParts& parts, const std::string& tenant, sync::Caller& caller,
                                        const sync::SyncRequest& request,
                                        std::chrono::steady_clock::time_point deadline, double queued_seconds,
                                        sync::ServeStats& stats);

// Texts of a response may quote the peer's own bytes, and Protocol Buffers' strings must be UTF-8.
void make_texts_valid(sync::SyncResponse& response);

}  // namespace rejoin::server
