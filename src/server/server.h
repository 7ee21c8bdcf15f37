// The server: tenants, tokens and routes behind HTTP. What `rejoin serve` runs, and what tests run in process.
#pragma once

#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/result.h"
#include "server/settings.h"

namespace rejoin::server {

class Server {
 public:
  // Listens when it returns. Errors: unauthorized (no key of tokens and not `dev`), bad_argument (settings that
  // contradict each other), network (the port), disk and not_found (the data folder); each with the cure. `log`,
  // `clock` and `random` must outlive the server and be thread-safe.
  static Result<std::unique_ptr<Server>> start(const Settings& settings, Log& log, Clock& clock = system_clock(),
                                               Random& random = system_random());
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  // Reads the TLS certificate and key again; when they cannot be used, the log says why and the old ones stay.
  void reload();
  // Graceful: accepts no more, lets requests finish (up to Settings::http.stop_timeout_ms), closes the databases.
  // Idempotent.
  void stop();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rejoin::server
