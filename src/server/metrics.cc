#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <sstream>

namespace rejoin::server {

namespace prom = prometheus;

struct Metrics::Impl {
  prom::Registry registry;
  prom::Family<prom::Counter>& requests = prom::BuildCounter()
                                              .Name("rejoin_http_requests_total")
                                              .Help("HTTP requests by route and status")
                                              .Register(registry);
  prom::Family<prom::Histogram>& seconds =
      prom::BuildHistogram()
          .Name("rejoin_http_request_seconds")
          .Help("Time from the first byte of a request to the last byte of its answer")
          .Register(registry);
  prom::Family<prom::Counter>& bytes_in = prom::BuildCounter()
                                              .Name("rejoin_http_received_bytes_total")
                                              .Help("Bytes of request bodies as they came, by route")
                                              .Register(registry);
  prom::Family<prom::Counter>& bytes_out = prom::BuildCounter()
                                               .Name("rejoin_http_sent_bytes_total")
                                               .Help("Bytes of answer bodies as they went, by route")
                                               .Register(registry);
  prom::Family<prom::Counter>& refused = prom::BuildCounter()
                                             .Name("rejoin_sync_rows_refused_total")
                                             .Help("Pushed rows that were refused one by one, by reason")
                                             .Register(registry);
  prom::Family<prom::Counter>& errors = prom::BuildCounter()
                                            .Name("rejoin_errors_total")
                                            .Help("Requests that were answered with an error, by its name")
                                            .Register(registry);
  prom::Family<prom::Counter>& rows =
      prom::BuildCounter()
          .Name("rejoin_sync_rows_total")
          .Help("Rows of exchanges: pushed by devices, pulled by them, changed here, parked here")
          .Register(registry);
  prom::Family<prom::Counter>& repeats = prom::BuildCounter()
                                             .Name("rejoin_sync_repeated_pushes_total")
                                             .Help("Pushes that were retries of one taken before")
                                             .Register(registry);
  prom::Family<prom::Gauge>& gauges =
      prom::BuildGauge().Name("rejoin_tenants_open").Help("Tenant databases that are open").Register(registry);
  prom::Family<prom::Gauge>& connections_family =
      prom::BuildGauge().Name("rejoin_http_connections").Help("Open connections").Register(registry);
  prom::Family<prom::Gauge>& waiting_family = prom::BuildGauge()
                                                  .Name("rejoin_http_requests_waiting")
                                                  .Help("Requests that wait for a worker")
                                                  .Register(registry);
  prom::Family<prom::Gauge>& bodies_family = prom::BuildGauge()
                                                 .Name("rejoin_http_body_bytes")
                                                 .Help("Memory taken by request bodies under way")
                                                 .Register(registry);

  prom::Counter& pushed = rows.Add({{"kind", "pushed"}});
  prom::Counter& pulled = rows.Add({{"kind", "pulled"}});
  prom::Counter& changed = rows.Add({{"kind", "changed"}});
  prom::Counter& parked = rows.Add({{"kind", "parked"}});
  prom::Counter& repeated = repeats.Add({});
  prom::Gauge& tenants = gauges.Add({});
  prom::Gauge& connections = connections_family.Add({});
  prom::Gauge& waiting = waiting_family.Add({});
  prom::Gauge& bodies = bodies_family.Add({});
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::request(std::string_view route, int status, double seconds, uint64_t received, uint64_t sent) {
  const std::string name(route);
  impl_->requests.Add({{"route", name}, {"status", std::to_string(status)}}).Increment();
  impl_->seconds
      .Add({{"route", name}}, prom::Histogram::BucketBoundaries{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                                1, 2.5, 5, 10, 30, 60})
      .Observe(seconds);
  impl_->bytes_in.Add({{"route", name}}).Increment(static_cast<double>(received));
  impl_->bytes_out.Add({{"route", name}}).Increment(static_cast<double>(sent));
}

void Metrics::exchange(const sync::ServeStats& stats) {
  impl_->pushed.Increment(static_cast<double>(stats.rows_pushed));
  impl_->pulled.Increment(static_cast<double>(stats.rows_pulled));
  impl_->changed.Increment(static_cast<double>(stats.rows_changed));
  impl_->parked.Increment(static_cast<double>(stats.rows_parked));
  if (stats.repeated) impl_->repeated.Increment();
  for (Code code : stats.refused) impl_->refused.Add({{"reason", std::string(code_name(code))}}).Increment();
}

void Metrics::error(Code code) { impl_->errors.Add({{"error", std::string(code_name(code))}}).Increment(); }

std::string Metrics::text(const net::HttpServerGauges& gauges, size_t open_tenants) {
  impl_->tenants.Set(static_cast<double>(open_tenants));
  impl_->connections.Set(static_cast<double>(gauges.connections));
  impl_->waiting.Set(static_cast<double>(gauges.waiting));
  impl_->bodies.Set(static_cast<double>(gauges.body_bytes));
  std::ostringstream out;
  prom::TextSerializer().Serialize(out, impl_->registry.Collect());
  return out.str();
}

}  // namespace rejoin::server
