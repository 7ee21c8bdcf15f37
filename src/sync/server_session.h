// The server's end of one exchange: a request of a known caller against one tenant's store gives a response. Keeps
// nothing between exchanges; whatever must be remembered is in the store.
#pragma once

#include <cstdint>
#include <string>

#include "codec/limits.h"
#include "sync/messages.h"
#include "sync/store.h"

namespace rejoin::sync {

// Who calls, as the access token says it.
struct Caller {
  std::string device;
  bool may_relay = false;   // may push cells of other sites
  bool may_schema = false;  // may create tables and columns with its contract
  Identity who;
};

struct ServerSettings {
  uint64_t max_frame_bytes = 16ull << 20;
  uint64_t max_value_bytes = 8ull << 20;
  uint64_t max_frame_rows = 1ull << 20;
  uint64_t page_bytes = 1ull << 20;  // when the device does not say
  uint64_t max_page_bytes = 4ull << 20;
  int64_t drift_ms = 5 * 60 * 1000;  // how far ahead of the server's clock a stamp may lie
  bool auto_schema = true;           // a caller with may_schema creates tables; false: nobody does
};

// For metrics and logs.
struct ServeStats {
  uint64_t rows_pushed = 0;
  uint64_t rows_changed = 0;
  uint64_t rows_pulled = 0;
  uint64_t rows_parked = 0;
  std::vector<Code> refused;     // one per refused row
  bool repeated = false;         // the push was a retry
  uint64_t tables_left_out = 0;  // of the page: they cannot be read for this device
};

ServerFacts facts_of(const ServerSettings& settings, const Caller& caller, int64_t now_ms);
MessageLimits message_limits(const ServerSettings& settings);

// Callers of one tenant with equal views may see the same. A page for one of them, from the same cursor, is good for
// all: a store that notes what each replica was given makes cursors that differ.
std::string view_of(const Caller& caller);
// The schema's fingerprint as callers of a view are told it: rows that were refused are worth another try when the
// caller may do other things.
std::string schema_for(const std::string& view, const std::string& fingerprint);

// One exchange. Never fails: what goes wrong is the response's error. A push that is refused as a whole is answered
// without a page, so that the device reacts first; rows that are refused one by one are in the ack, and the page
// follows.
SyncResponse serve(const SyncRequest& request, const Caller& caller, TenantStore& store, const ServerSettings& settings,
                   int64_t now_ms, ServeStats* stats = nullptr);

}  // namespace rejoin::sync
