#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <map>
#include <sstream>

namespace rejoin::server {

namespace prom = prometheus;

namespace {

using Buckets = prom::Histogram::BucketBoundaries;
using Counters = prom::Family<prom::Counter>;
using Gauges = prom::Family<prom::Gauge>;
using Histograms = prom::Family<prom::Histogram>;

const Buckets kSeconds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
const Buckets kRows{0, 1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, 1e6};
const Buckets kBytes{256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 33554432};

// What became of a request, in few words.
std::string_view outcome_of(int status) {
  return status == 499 ? "gone" : status >= 500 ? "failed" : status >= 400 ? "refused" : "ok";
}

using Seconds = std::chrono::duration<double>;

}  // namespace

struct Metrics::Impl {
  Counters& counters(const char* name, const char* help) {
    return prom::BuildCounter().Name(name).Help(help).Register(registry);
  }
  prom::Gauge& gauge(const char* name, const char* help, const prom::Labels& labels = {}) {
    return prom::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
  }
  Histograms& histograms(const char* name, const char* help) {
    return prom::BuildHistogram().Name(name).Help(help).Register(registry);
  }

  prom::Registry registry;
  Counters& requests = counters("rejoin_http_requests_total", "HTTP requests by route and status");
  Histograms& seconds =
      histograms("rejoin_http_request_seconds", "Time from the first byte of a request to the last byte of its answer");
  Counters& bytes_in = counters("rejoin_http_received_bytes_total", "Bytes of request bodies as they came, by route");
  Counters& bytes_out = counters("rejoin_http_sent_bytes_total", "Bytes of answer bodies as they went, by route");
  prom::Histogram& request_bytes =
      histograms("rejoin_sync_request_bytes", "Bytes of an exchange's request body as it came").Add({}, kBytes);
  prom::Histogram& response_bytes =
      histograms("rejoin_sync_response_bytes", "Bytes of an exchange's answer body as it went").Add({}, kBytes);
  Counters& rows = counters("rejoin_sync_rows_total",
                            "Rows of exchanges: pushed by devices, pulled by them, changed here, parked here");
  Counters& refused = counters("rejoin_sync_rows_refused_total", "Pushed rows that were refused one by one, by reason");
  Counters& repeats = counters("rejoin_sync_repeated_pushes_total", "Pushes that were retries of one taken before");
  prom::Counter& left_out = counters("rejoin_tables_left_out_total",
                                     "Times that a table could not be read for a page, because a policy of it fails")
                                .Add({});
  prom::Counter& forgotten = counters("rejoin_postgres_deletions_forgotten_total",
                                      "Rows deleted so long ago that PostgreSQL was rid of their records")
                                 .Add({});
  prom::Histogram& push_rows = histograms("rejoin_sync_push_rows", "Rows of a push").Add({}, kRows);
  prom::Histogram& pull_rows = histograms("rejoin_sync_pull_rows", "Rows of a pulled page").Add({}, kRows);
  prom::Histogram& store_seconds =
      histograms("rejoin_sync_store_seconds", "Time from asking for a tenant's store to its answer").Add({}, kSeconds);
  Histograms& work_seconds =
      histograms("rejoin_store_seconds", "Time that a call of a tenant's store took, by what it was");
  prom::Histogram& queue_seconds =
      histograms("rejoin_sync_queue_seconds", "Time that an exchange waited for a worker").Add({}, kSeconds);
  Histograms& database_seconds =
      histograms("rejoin_postgres_seconds", "Time that a piece of work waited for PostgreSQL, by what it was");
  Counters& database_trips =
      counters("rejoin_postgres_round_trips_total", "Round trips to PostgreSQL, by what they were for");
  prom::Gauge& captured =
      gauge("rejoin_postgres_captured_age_seconds",
            "Age of the oldest captured write that is not folded yet, of tenants with live connections; 0 without");
  Counters& errors = counters("rejoin_errors_total", "Requests that were answered with an error, by its name");
  Counters& limited = counters("rejoin_rate_limited_total", "Exchanges refused for coming too often, by whose limit");
  Counters& handshakes = counters("rejoin_tls_handshakes_total", "TLS handshakes by outcome");
  prom::Gauge& certificate =
      gauge("rejoin_tls_certificate_expires_seconds", "When the certificate ends, in seconds since 1970; 0 without");
  prom::Gauge& tenants = gauge("rejoin_tenants_open", "Tenant databases that are open");
  prom::Gauge& connections = gauge("rejoin_http_connections", "Open connections");
  prom::Gauge& waiting = gauge("rejoin_http_requests_waiting", "Requests that wait for a worker");
  prom::Gauge& working = gauge("rejoin_http_requests_working", "Requests that a worker is at");
  prom::Gauge& bodies = gauge("rejoin_http_body_bytes", "Memory taken by request bodies under way");
  prom::Gauge& live = gauge("rejoin_live_connections", "Open live connections");
  prom::Counter& live_pages =
      counters("rejoin_live_pages_total", "Pages read from a store for live connections").Add({});
  prom::Counter& live_sent =
      counters("rejoin_live_pages_sent_total", "Pages sent over live connections, a shared one once for each").Add({});
  prom::Counter& live_slow =
      counters("rejoin_live_slow_readers_total", "Times that a live connection had to read before it was sent more")
          .Add({});
  prom::Histogram& live_lag =
      histograms("rejoin_live_lag_seconds",
                 "From the oldest change that live readers lacked until a page with it was handed to their sockets")
          .Add({}, kSeconds);
  Counters& live_messages = counters("rejoin_live_messages_total", "Messages to topics, by what became of them");
  Counters& live_closed = counters("rejoin_live_closed_total", "Live connections that ended, by close code");
  prom::Gauge& build = gauge("rejoin_build_info", "1, with the version", {{"version", REJOIN_VERSION}});

  prom::Counter& pushed = rows.Add({{"kind", "pushed"}});
  prom::Counter& pulled = rows.Add({{"kind", "pulled"}});
  prom::Counter& changed = rows.Add({{"kind", "changed"}});
  prom::Counter& parked = rows.Add({{"kind", "parked"}});
  prom::Counter& repeated = repeats.Add({});

  struct Database {
    prom::Histogram& seconds;
    prom::Counter& round_trips;
  };
  Database database(const std::string& kind) {
    return {database_seconds.Add({{"kind", kind}}, kSeconds), database_trips.Add({{"kind", kind}})};
  }
  prom::Histogram& work(const std::string& kind) { return work_seconds.Add({{"kind", kind}}, kSeconds); }
  // Made beforehand: pushes look nothing up, and a kind that did not happen yet is 0.
  const std::map<DatabaseWork, Database> databases{{DatabaseWork::push, database("push")},
                                                   {DatabaseWork::pull, database("pull")},
                                                   {DatabaseWork::contract, database("contract")},
                                                   {DatabaseWork::audit, database("audit")},
                                                   {DatabaseWork::connect, database("connect")}};
  const std::map<StoreWork, prom::Histogram&> works{{StoreWork::push, work("push")},
                                                    {StoreWork::pull, work("pull")},
                                                    {StoreWork::merge, work("merge")},
                                                    {StoreWork::contract, work("contract")}};
  std::atomic<std::chrono::steady_clock::time_point> captured_since{};
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) { impl_->build.Set(1); }
Metrics::~Metrics() = default;

void Metrics::request(std::string_view route, int status, double seconds, uint64_t received, uint64_t sent) {
  const std::string name(route);
  impl_->requests.Add({{"route", name}, {"status", std::to_string(status)}}).Increment();
  impl_->seconds.Add({{"route", name}, {"outcome", std::string(outcome_of(status))}}, kSeconds).Observe(seconds);
  impl_->bytes_in.Add({{"route", name}}).Increment(static_cast<double>(received));
  impl_->bytes_out.Add({{"route", name}}).Increment(static_cast<double>(sent));
  if (route != "sync") return;
  impl_->request_bytes.Observe(static_cast<double>(received));
  impl_->response_bytes.Observe(static_cast<double>(sent));
}

void Metrics::exchange(const sync::ServeStats& stats, bool pushed, bool pulled, double store_seconds,
                       double queue_seconds) {
  if (pushed) impl_->push_rows.Observe(static_cast<double>(stats.rows_pushed));
  if (pulled) impl_->pull_rows.Observe(static_cast<double>(stats.rows_pulled));
  impl_->store_seconds.Observe(store_seconds);
  impl_->queue_seconds.Observe(queue_seconds);
  impl_->pushed.Increment(static_cast<double>(stats.rows_pushed));
  impl_->pulled.Increment(static_cast<double>(stats.rows_pulled));
  impl_->changed.Increment(static_cast<double>(stats.rows_changed));
  impl_->parked.Increment(static_cast<double>(stats.rows_parked));
  if (stats.repeated) impl_->repeated.Increment();
  left_out(stats.tables_left_out);
  for (Code code : stats.refused) impl_->refused.Add({{"reason", std::string(code_name(code))}}).Increment();
}

void Metrics::forgot(int64_t deletions) { impl_->forgotten.Increment(static_cast<double>(deletions)); }

void Metrics::left_out(uint64_t tables) { impl_->left_out.Increment(static_cast<double>(tables)); }

void Metrics::store(StoreWork kind, std::chrono::steady_clock::duration time) {
  impl_->works.at(kind).Observe(Seconds(time).count());
}

void Metrics::database(DatabaseWork kind, std::chrono::steady_clock::duration time, uint64_t round_trips) {
  const Impl::Database& of = impl_->databases.at(kind);
  of.seconds.Observe(Seconds(time).count());
  of.round_trips.Increment(static_cast<double>(round_trips));
}

void Metrics::error(Code code) { impl_->errors.Add({{"error", std::string(code_name(code))}}).Increment(); }

void Metrics::rate_limited(std::string_view scope) { impl_->limited.Add({{"scope", std::string(scope)}}).Increment(); }

void Metrics::handshake(std::string_view outcome) {
  impl_->handshakes.Add({{"outcome", std::string(outcome)}}).Increment();
}

void Metrics::live_connections(size_t open) { impl_->live.Set(static_cast<double>(open)); }

void Metrics::live_page(size_t readers) {
  impl_->live_pages.Increment();
  impl_->live_sent.Increment(static_cast<double>(readers));
}

void Metrics::live_slow_reader() { impl_->live_slow.Increment(); }

void Metrics::live_lag(std::chrono::steady_clock::duration lag) { impl_->live_lag.Observe(Seconds(lag).count()); }

void Metrics::captured_waits(std::optional<std::chrono::steady_clock::time_point> since) {
  impl_->captured_since = since.value_or(std::chrono::steady_clock::time_point());
}

void Metrics::live_messages(std::string_view kind, size_t n) {
  impl_->live_messages.Add({{"kind", std::string(kind)}}).Increment(static_cast<double>(n));
}

void Metrics::live_closed(int code) { impl_->live_closed.Add({{"code", std::to_string(code)}}).Increment(); }

std::string Metrics::text(const net::HttpServerGauges& gauges, size_t open_tenants) {
  impl_->tenants.Set(static_cast<double>(open_tenants));
  impl_->connections.Set(static_cast<double>(gauges.connections));
  impl_->waiting.Set(static_cast<double>(gauges.waiting));
  impl_->working.Set(static_cast<double>(gauges.working));
  impl_->bodies.Set(static_cast<double>(gauges.body_bytes));
  impl_->certificate.Set(static_cast<double>(gauges.certificate_expires));
  const auto since = impl_->captured_since.load();
  const bool waits = since != std::chrono::steady_clock::time_point();
  impl_->captured.Set(waits ? Seconds(std::chrono::steady_clock::now() - since).count() : 0);
  std::ostringstream out;
  prom::TextSerializer().Serialize(out, impl_->registry.Collect());
  return out.str();
}

}  // namespace rejoin::server
