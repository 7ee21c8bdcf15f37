// From HTTP to sync: which route a request means, who calls, in which form, and what is said back. docs/http.md is the
// reference.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "net/http_server.h"
#include "server/live_caller.h"
#include "server/metrics.h"
#include "server/rate_limit.h"
#include "server/settings.h"
#include "server/tenants.h"
#include "server/token_verifier.h"

namespace rejoin::server {

class LiveHub;

// Thread-safe.
class Routes final : public LiveGate {
 public:
  Routes(const Settings& settings, TokenVerifier& verifier, Tenants& tenants, LiveHub& live, Metrics& metrics, Log& log,
         Clock& clock, Random& random);

  std::optional<net::HttpResponse> admit(net::HttpRequest& request);
  net::HttpResponse handle(net::HttpRequest& request);
  net::HttpResponse refuse(const net::HttpRequest& request, const Error& error, int64_t retry_after_ms);
  void done(const net::HttpRequest& request, const net::HttpResponse& response, uint64_t sent);

  Result<LiveCaller> renew(const std::string& token) override;
  int64_t too_often(const std::string& tenant, const std::string& device, Error& why) override;

  // Where /metrics gets the server's gauges from; set before the first request.
  std::function<net::HttpServerGauges()> gauges;

 private:
  struct Context;
  std::optional<net::HttpResponse> admit_exchange(net::HttpRequest& request, Context& context);
  std::optional<net::HttpResponse> admit_live(net::HttpRequest& request, Context& context);
  std::optional<net::HttpResponse> admit_caller(const net::HttpRequest& request, Context& context);
  Status authenticate(const net::HttpRequest& request, Context& context) const;
  net::HttpResponse contract(net::HttpRequest& request, Context& context);
  net::HttpResponse exchange(net::HttpRequest& request, Context& context);
  net::HttpResponse exchange_response(Context& context, sync::SyncResponse response) const;
  net::HttpResponse error_reply(Context& context, const Error& error, int64_t retry_after_ms) const;

  const Settings& settings_;
  TokenVerifier& verifier_;
  Tenants& tenants_;
  LiveHub& live_;
  Metrics& metrics_;
  Log& log_;
  Clock& clock_;
  Random& random_;
  RateLimiter device_rate_, tenant_rate_;
};

}  // namespace rejoin::server
