// Everything about a server that can be set, with the defaults that docs/http.md lists.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "net/http_server.h"
#include "server/audit_files.h"
#include "server/quotas.h"
#include "server/rate_limit.h"
#include "server/token_verifier.h"
#include "sync/server_session.h"

namespace rejoin::server {

// PostgreSQL as the store. docs/postgres.md.
struct PostgresSettings {
  std::string url;          // as libpq takes it; {tenant} in it: a database for each tenant. Empty: the embedded store
  size_t connections = 10;  // of each database, at most
  bool audit = false;       // pushes are written into rejoin.audit
  bool prepare = true;      // false behind a pooler in transaction mode that keeps no prepared statements
};

struct Settings {
  std::string data_dir;  // may be empty with PostgreSQL and keys from elsewhere
  PostgresSettings postgres;
  std::string secret;    // of HS256 tokens; see secret.h. May be empty when `tokens` has keys, and with `dev`
  TokenSettings tokens;  // other keys, and what tokens must say
  bool dev = false;  // requests need no token: tenant "dev", device = the site of the hello. Loopback addresses only
  net::HttpServerOptions http;
  sync::ServerSettings sync;
  std::vector<std::string> cors_origins;  // whose pages' scripts may sync; see cors.h
  RateLimit device_rate, tenant_rate;     // of requests to the sync route
  QuotaSettings quotas;                   // of what is pushed
  size_t open_tenants = 64;               // database handles that are kept open
  AuditSettings audit;                    // of the embedded store
  int busy_timeout_ms = 10'000;           // how long a request waits for another process that writes the same tenant
};

}  // namespace rejoin::server
