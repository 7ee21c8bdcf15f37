#include "cli/serve_operations.h"

#include <CLI/Validators.hpp>
#include <algorithm>

#include "cli/in_flag.h"
#include "cli/units.h"
#include "net/forwarded.h"
#include "server/cors.h"

namespace rejoin::cli {
namespace {

CLI::Option* add_list(CLI::App& command, const char* flag, std::vector<std::string>& values, const char* help) {
  return command.add_option(flag, values, help)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',');
}

Status fill_rate(const char* flag, const std::string& text, server::RateLimit& limit) {
  if (text.empty()) return {};
  Result<server::RateLimit> parsed = server::parse_rate_limit(text);
  if (!parsed.ok()) return in_flag(flag, parsed.error());
  limit = *parsed;
  return {};
}

Status fill_quota(const char* flag, const std::string& text, server::Quota& quota) {
  if (text.empty()) return {};
  Result<server::Quota> parsed = server::parse_quota(text);
  if (!parsed.ok()) return in_flag(flag, parsed.error());
  quota = *parsed;
  return {};
}

Status fill_audit(const OperationsArguments& arguments, server::Settings& settings) {
  const bool postgres = !settings.postgres.url.empty();
  for (const auto& [flag, given] :
       {std::pair("--audit-keep", arguments.audit_keep), std::pair("--audit-max-size", arguments.audit_max_size)}) {
    if (given.empty()) continue;
    if (!arguments.audit) return fail(Code::bad_argument, std::string(flag) + " does nothing without --audit");
    if (postgres)
      return fail(Code::bad_argument, std::string(flag) +
                                          " is for the embedded store; how long PostgreSQL keeps the audit log says "
                                          "its owner: UPDATE rejoin.meta SET audit_days = 90");
  }
  settings.audit.on = arguments.audit && !postgres;
  settings.postgres.audit = arguments.audit;
  if (!arguments.audit_keep.empty()) {
    REJOIN_ASSIGN(settings.audit.keep_ms, in_flag("--audit-keep", parse_duration(arguments.audit_keep)));
  }
  if (!arguments.audit_max_size.empty()) {
    REJOIN_ASSIGN(settings.audit.max_bytes, in_flag("--audit-max-size", parse_size(arguments.audit_max_size)));
  }
  return {};
}

}  // namespace

void add_operations_options(CLI::App& command, OperationsArguments& arguments) {
  command
      .add_option("--tls-cert", arguments.tls_cert,
                  "Speak TLS with this certificate and its chain (PEM); SIGHUP reads it again")
      ->type_name("FILE");
  command.add_option("--tls-key", arguments.tls_key, "The certificate's private key (PEM); nobody else may read it")
      ->type_name("FILE");
  add_list(command, "--cors-origin", arguments.cors_origins,
           "Let pages of this origin sync from a browser; * for all. May be repeated")
      ->type_name("ORIGIN");
  add_list(command, "--trusted-proxy", arguments.trusted_proxies,
           "Believe X-Forwarded-For and X-Forwarded-Proto from these addresses. May be repeated")
      ->type_name("CIDR");
  command.add_option("--rate-device", arguments.rate_device, "Most requests of a device: N/s, N/m or N/h, and :BURST")
      ->type_name("RATE");
  command.add_option("--rate-tenant", arguments.rate_tenant, "Most requests of all devices of a tenant together")
      ->type_name("RATE");
  command
      .add_option("--quota-device-rows", arguments.quota_device_rows,
                  "Most rows that a device may push: N/s, N/m, N/h or N/d")
      ->type_name("QUOTA");
  command.add_option("--quota-device-bytes", arguments.quota_device_bytes, "Most bytes that a device may push: 64M/d")
      ->type_name("QUOTA");
  command
      .add_option("--quota-tenant-rows", arguments.quota_tenant_rows, "Most rows of all devices of a tenant together")
      ->type_name("QUOTA");
  command
      .add_option("--quota-tenant-bytes", arguments.quota_tenant_bytes,
                  "Most bytes of all devices of a tenant together")
      ->type_name("QUOTA");
  command.add_option("--max-queue", arguments.max_queue, "Most requests that wait for a worker (1024)")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000));
  command
      .add_option("--max-queue-wait", arguments.max_queue_wait,
                  "Take no more requests when one has waited so long for a worker (10s)")
      ->type_name("TIME");
  command.add_flag("--audit", arguments.audit, "Write down who pushed what: in DIR/audit, or the table rejoin.audit");
  command.add_option("--audit-keep", arguments.audit_keep, "How long files in DIR/audit are kept (90d)")
      ->type_name("TIME");
  command.add_option("--audit-max-size", arguments.audit_max_size, "How large they may be together (1G)")
      ->type_name("SIZE");
}

Status fill_operations(const OperationsArguments& arguments, server::Settings& settings) {
  net::HttpServerOptions& http = settings.http;
  if (arguments.tls_cert.empty() != arguments.tls_key.empty())
    return fail(Code::bad_argument, "a certificate and its key belong together; give both --tls-cert and --tls-key");
  http.tls_cert_file = arguments.tls_cert;
  http.tls_key_file = arguments.tls_key;
  for (const std::string& origin : arguments.cors_origins)
    if (Status good = server::check_cors_origin(origin); !good.ok()) return in_flag("--cors-origin", good.error());
  settings.cors_origins = arguments.cors_origins;
  for (const std::string& range : arguments.trusted_proxies) {
    Result<net::Cidr> cidr = net::parse_cidr(range);
    if (!cidr.ok()) return in_flag("--trusted-proxy", cidr.error());
    http.trusted_proxies.push_back(*cidr);
  }
  REJOIN_TRY(fill_rate("--rate-device", arguments.rate_device, settings.device_rate));
  REJOIN_TRY(fill_rate("--rate-tenant", arguments.rate_tenant, settings.tenant_rate));
  server::QuotaSettings& quotas = settings.quotas;
  REJOIN_TRY(fill_quota("--quota-device-rows", arguments.quota_device_rows, quotas.device_rows));
  REJOIN_TRY(fill_quota("--quota-device-bytes", arguments.quota_device_bytes, quotas.device_bytes));
  REJOIN_TRY(fill_quota("--quota-tenant-rows", arguments.quota_tenant_rows, quotas.tenant_rows));
  REJOIN_TRY(fill_quota("--quota-tenant-bytes", arguments.quota_tenant_bytes, quotas.tenant_bytes));
  http.queue = arguments.max_queue;
  http.queue_per_lane = std::min(http.queue_per_lane, http.queue);
  REJOIN_ASSIGN(http.queue_wait_ms, in_flag("--max-queue-wait", parse_duration(arguments.max_queue_wait)));
  return fill_audit(arguments, settings);
}

}  // namespace rejoin::cli
