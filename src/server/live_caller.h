// Who is behind a live connection, and what it asks of whoever knows tokens and rates.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "sync/server_session.h"

namespace rejoin::server {

struct LiveCaller {
  std::string tenant;
  sync::Caller caller;
  std::string view;        // what the caller may see of its tenant: pages are shared by those of one view
  int64_t expires_ms = 0;  // the token, since the Unix epoch; 0: never
  std::string remote, id;  // for the log
};

class LiveGate {
 public:
  virtual ~LiveGate() = default;
  // Whom a fresh token names. Errors: unauthorized, overloaded.
  virtual Result<LiveCaller> renew(const std::string& token) = 0;
  // 0, or in how many milliseconds this device may ask again, and why.
  virtual int64_t too_often(const std::string& tenant, const std::string& device, Error& why) = 0;
};

}  // namespace rejoin::server
