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
  int64_t lock_timeout_ms = 2'000;   // for a row or table that others hold; 0: as the role has it
  int64_t statement_timeout_ms = 0;  // likewise
  bool impersonate = false;          // rows are read and written as the caller's role, with its claims
  std::string impersonate_role;      // of callers whose token names none; empty: they are refused
  int64_t recheck_ms = 60'000;       // how old the answer may be to what a role may see, when other tables decide it
};

// Live connections. docs/live.md.
struct LiveSettings {
  size_t connections = 10'000;  // at most; 0: none are taken
  size_t per_device = 4;        // a newer one of the same device takes the oldest one's place
  uint64_t queue = 256 << 10;   // bytes on the way to one reader; with more it has to wait for further pages
  int64_t stall_ms = 60'000;    // a reader that takes nothing for so long is cut
  int64_t outbox_poll_ms = 25;  // how often PostgreSQL is asked for writes by plain SQL
  int64_t poll_ms = 5'000;      // how often for all else that nobody told of, like other processes' writes
  RateLimit messages{20, 40};   // of one device, to topics
};

struct Settings {
  std::string data_dir;  // may be empty with PostgreSQL and keys from elsewhere
  PostgresSettings postgres;
  std::string secret;    // of HS256 tokens; see secret.h. May be empty when `tokens` has keys, and with `dev`
  TokenSettings tokens;  // other keys, and what tokens must say
  bool dev = false;  // requests need no token: tenant "dev", device = the site of the hello. Loopback addresses only
  net::HttpServerOptions http;
  sync::ServerSettings sync;
  sync::TableRights directions;           // which way the tables go, whatever a token says
  std::vector<std::string> cors_origins;  // whose pages' scripts may sync; see cors.h
  RateLimit device_rate, tenant_rate;     // of requests to the sync route
  QuotaSettings quotas;                   // of what is pushed
  LiveSettings live;
  bool recover = false;          // every device may push what others wrote, until all that was lost is back
  size_t open_tenants = 64;      // database handles that are kept open
  AuditSettings audit;           // of the embedded store
  int busy_timeout_ms = 10'000;  // how long a request waits for another process that writes the same tenant
};

}  // namespace rejoin::server
