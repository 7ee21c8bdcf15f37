#include "server/server.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "net/url.h"
#include "server/cors.h"
#include "server/embedded_tenants.h"
#include "server/live_hub.h"
#include "server/metrics.h"
#include "server/postgres_tenants.h"
#include "server/routes.h"
#include "server/secret.h"
#include "server/token_verifier.h"

namespace rejoin::server {
namespace {

Status check(const Settings& settings) {
  if (settings.data_dir.empty() && settings.postgres.url.empty())
    return fail(Code::bad_argument, "the server needs a folder for its data; give one with --data DIR");
  if (settings.secret.empty() && !settings.tokens.any_key() && !settings.dev)
    return fail(Code::unauthorized,
                "without a key no token can be verified, so this server does not start; give a secret by file or by "
                "REJOIN_SECRET, public keys with --jwt-key, --jwks or --jwks-url, or use --dev on a loopback address");
  if (settings.dev && !net::is_loopback_host(settings.http.address))
    return fail(Code::bad_argument,
                "--dev lets anyone in without a token, so it listens on loopback addresses only; '" +
                    settings.http.address + "' is none. Use 127.0.0.1, or leave --dev out");
  if (settings.sync.max_value_bytes > settings.sync.max_frame_bytes ||
      settings.sync.max_frame_bytes >= settings.http.max_body)
    return fail(Code::bad_argument, "the limits must grow: value < frame < body");
  for (const std::string& origin : settings.cors_origins) {
    REJOIN_TRY(check_cors_origin(origin));
    if (settings.dev && origin == "*")
      return fail(
          Code::bad_argument,
          "--dev asks for no token, so with --cors-origin '*' every web page could read and write the data; name "
          "the origin of your page, like http://localhost:5173");
  }
  return {};
}

// Says which certificate is in force, and until when.
void log_certificate(const Settings& settings, const net::HttpServer& http, Log& log) {
  const int64_t expires = http.gauges().certificate_expires;
  if (settings.http.tls_cert_file.empty()) return;
  log.write(LogLevel::info, "tls_loaded",
            {{"certificate", settings.http.tls_cert_file}, {"expires", iso8601(expires * 1000)}});
}

Result<std::unique_ptr<Tenants>> open_tenants(const Settings& settings, Log& log, Clock& clock, Random& random) {
  if (!settings.postgres.url.empty())
    return PostgresTenants::start(settings.postgres, settings.sync.auto_schema, log, clock, random);
  REJOIN_TRY(make_folder(settings.data_dir));
  REJOIN_TRY(make_folder(settings.data_dir + "/tenants"));
  std::unique_ptr<sync::AuditSink> audit;
  if (settings.audit.on) audit = std::make_unique<AuditFiles>(settings.data_dir + "/audit", settings.audit, clock);
  std::unique_ptr<Tenants> files = std::make_unique<EmbeddedTenants>(
      settings.data_dir + "/tenants", std::max(settings.open_tenants, settings.http.workers), settings.busy_timeout_ms,
      clock, std::move(audit));
  REJOIN_TRY(files->probe());
  return files;
}

std::unique_ptr<LiveFeed> make_feed(const Settings& settings, LiveHub& live, Metrics& metrics, Random& random,
                                    Log& log) {
  using Since = std::optional<std::chrono::steady_clock::time_point>;
  LiveFeed::Heard heard{[&live](const std::string& tenant, Since since) { live.wake(tenant, since); },
                        [&live](const std::string& tenant, BytesView message) { live.heard(tenant, message); },
                        [&metrics](Since since) { metrics.captured_waits(since); }};
  if (settings.postgres.url.empty())
    return make_file_feed(settings.data_dir + "/tenants", settings.live, std::move(heard));
  return make_postgres_feed(settings.postgres, settings.live, to_hex(random.bytes(8)), std::move(heard), log);
}

}  // namespace

struct Server::Impl {
  Impl(const Settings& s, std::unique_ptr<TokenVerifier> v, std::unique_ptr<Tenants> t, Log& l, Clock& clock,
       Random& random)
      : settings(s),
        log(l),
        verifier(std::move(v)),
        tenants(std::move(t)),
        quotas(settings.quotas),
        live({settings, *tenants, metrics, clock, quotas}, l),
        routes(settings, *verifier, *tenants, live, metrics, l, clock, random) {}

  const Settings settings;
  Log& log;
  const std::unique_ptr<TokenVerifier> verifier;
  Metrics metrics;
  const std::unique_ptr<Tenants> tenants;
  Quotas quotas;
  LiveHub live;
  Routes routes;
  std::atomic<net::HttpServer*> listening = nullptr;
  std::unique_ptr<net::HttpServer> http;  // last: its threads use all of the above
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::start(const Settings& settings, Log& log, Clock& clock, Random& random) {
  REJOIN_TRY(check(settings));
  REJOIN_ASSIGN(std::unique_ptr<TokenVerifier> verifier, TokenVerifier::start(settings.tokens, settings.secret, log));
  REJOIN_ASSIGN(std::unique_ptr<Tenants> tenants, open_tenants(settings, log, clock, random));
  auto impl = std::make_unique<Impl>(settings, std::move(verifier), std::move(tenants), log, clock, random);

  Routes& routes = impl->routes;
  Impl* self = impl.get();
  routes.gauges = [self] {
    const net::HttpServer* http = self->listening;
    return http ? http->gauges() : net::HttpServerGauges{};
  };
  net::HttpHandlers handlers;
  handlers.admit = [&routes](net::HttpRequest& request) { return routes.admit(request); };
  handlers.handle = [&routes](net::HttpRequest& request) { return routes.handle(request); };
  handlers.refuse = [&routes](const net::HttpRequest& request, const Error& error, int64_t retry_after_ms) {
    return routes.refuse(request, error, retry_after_ms);
  };
  handlers.done = [&routes](const net::HttpRequest& request, const net::HttpResponse& response, uint64_t sent) {
    routes.done(request, response, sent);
  };
  handlers.handshake = [self](std::string_view outcome) { self->metrics.handshake(outcome); };
  impl->tenants->waited = [self](DatabaseWork kind, std::chrono::steady_clock::duration time, uint64_t round_trips) {
    self->metrics.database(kind, time, round_trips);
  };
  impl->tenants->worked = [self](StoreWork kind, std::chrono::steady_clock::duration time) {
    self->metrics.store(kind, time);
  };
  impl->tenants->forgot = [self](int64_t deletions) { self->metrics.forgot(deletions); };
  impl->tenants->grown = [self](const std::string& tenant) { self->live.grown(tenant); };
  impl->live.start(
      routes,
      [self](const std::string& lane, std::function<void()> job) {
        net::HttpServer* http = self->listening;
        return http && http->submit(lane, std::move(job));
      },
      make_feed(settings, impl->live, impl->metrics, random, log));
  REJOIN_ASSIGN(impl->http, net::HttpServer::start(settings.http, std::move(handlers), log));
  impl->listening = impl->http.get();
  log.write(LogLevel::info, "listening",
            {{"address", settings.http.address}, {"port", impl->http->port()}, {"dev", settings.dev ? "yes" : "no"}});
  log_certificate(settings, *impl->http, log);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

uint16_t Server::port() const { return impl_->http->port(); }

void Server::reload() {
  const Status loaded = impl_->http->reload();
  if (loaded.ok()) return log_certificate(impl_->settings, *impl_->http, impl_->log);
  impl_->log.write(LogLevel::warning, "tls_failed",
                   {{"error", std::string(code_name(loaded.error().code))}, {"message", loaded.error().message}});
}

void Server::stop() {
  if (!impl_) return;
  impl_->http->stop();
  impl_->live.stop();
  impl_->verifier->stop();
  impl_->tenants->close();
}

}  // namespace rejoin::server
