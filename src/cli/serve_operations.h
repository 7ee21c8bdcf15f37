// The options of `rejoin serve` for those who run it: TLS, browsers, proxies, rates, overload.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/settings.h"

namespace rejoin::cli {

struct OperationsArguments {
  std::string tls_cert, tls_key;
  std::vector<std::string> cors_origins;
  std::vector<std::string> trusted_proxies;
  std::string rate_device, rate_tenant;
  std::string quota_device_rows, quota_device_bytes, quota_tenant_rows, quota_tenant_bytes;
  size_t max_queue = 1024;
  std::string max_queue_wait = "10s";
  bool audit = false;
  std::string audit_keep, audit_max_size;
};

// `arguments` must outlive the command.
void add_operations_options(CLI::App& command, OperationsArguments& arguments);

// Errors: bad_argument. The TLS files are read when the server starts.
Status fill_operations(const OperationsArguments& arguments, server::Settings& settings);

}  // namespace rejoin::cli
