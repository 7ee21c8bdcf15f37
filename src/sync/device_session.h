// The device's end of one sync session, without any I/O: events go in (start, a response, a failure, a timer that
// rang), and exactly one instruction comes out of each (send, sleep, done). The host owns socket, timer and thread; the
// session owns what is said.
//
// Each round trip pushes one chunk and pulls one page, until nothing is pending on either side. Nothing is kept here
// that a lost session would miss: what must survive lives in the DeviceStore, so that a session that was cut is simply
// started again. Memory: one chunk and one page. Every reaction is bounded, so that no server can keep a device going
// in circles.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/random.h"
#include "base/result.h"
#include "sync/messages.h"
#include "sync/store.h"

namespace rejoin::sync {

struct DeviceOptions {
  uint64_t chunk_bytes = 1 << 20;  // how much of our changes one request carries (at least one row)
  uint64_t page_bytes = 1 << 20;   // how much news one response should carry
  std::string client_version;
  int64_t first_backoff_ms = 500;  // doubles with each failure in a row, half of it drawn at random
  int64_t longest_backoff_ms = 30'000;
  int attempts = 6;                   // failures in a row that end the session
  int64_t longest_wait_ms = 120'000;  // a server that asks for more patience ends the session instead
  MessageLimits limits;
};

// What the session has done so far. Rows count once per chunk or page that was taken.
struct SyncTotals {
  uint64_t rows_pushed = 0;
  uint64_t rows_pulled = 0;
  uint64_t rows_changed = 0;  // of the pulled ones
  uint64_t rows_refused = 0;  // of the pushed ones
  uint64_t rows_parked = 0;   // of the pulled ones
  uint64_t round_trips = 0;
  uint64_t retries = 0;
};

struct Send {
  Bytes request;  // an encoded SyncRequest
};
struct Sleep {
  int64_t ms = 0;
};
struct Done {
  SyncTotals totals;
  std::optional<Error> error;
};
using Instruction = std::variant<Send, Sleep, Done>;

// Single-threaded. `store` and `random` must outlive it. After Done, every event gives Done again.
class DeviceSession {
 public:
  DeviceSession(DeviceStore& store, Random& random, DeviceOptions options = {});

  Instruction start();
  // An encoded SyncResponse, of whatever HTTP status.
  Instruction on_response(BytesView response);
  // The request did not get an answer that decodes: transport failures, and refusals of a proxy.
  Instruction on_failure(const Error& error, int64_t retry_after_ms = 0);
  // The sleep that was asked for is over.
  Instruction on_timer();
  // The user or a shutdown ends it. What was acknowledged so far stays.
  Instruction on_cancel(const Error& why);

  const SyncTotals& totals() const { return totals_; }
  // Where the last page that it took ended: who takes further pages begins there, if no page was missed.
  const Bytes& place() const { return cursor_; }
  // The last answer may have had a page that was not taken, as the file was locked, say: the server takes it for read.
  bool page_missed() const { return page_missed_; }
  // The failure that the current Sleep waits out; for progress displays.
  const std::optional<Error>& last_failure() const { return last_failure_; }

 private:
  // How often each reaction has been taken since the last progress.
  struct Reactions {
    int failures = 0;
    int contracts = 0;
    int restamps = 0;
    int too_large = 0;
    int idle_rounds = 0;
  };

  Instruction next_request();
  Instruction take(SyncResponse response);
  Status take_ack(const Ack& ack);
  Status take_page(const PageMessage& page);
  Instruction react(const Error& error, int64_t retry_after_ms);
  Instruction react_to_too_large(const Error& error);
  Instruction back_off(const Error& error, int64_t retry_after_ms);
  Instruction after_store(const Status& status, const Error& cause);
  Instruction finish(std::optional<Error> error);
  void progressed();
  ServerFacts facts_for_push() const;

  DeviceStore& store_;
  Random& random_;
  DeviceOptions options_;
  SyncTotals totals_;
  ServerFacts facts_;
  bool facts_known_ = false;
  bool page_missed_ = false;
  uint64_t chunk_bytes_;
  uint64_t value_cap_ = 0;  // 0: none; see react_to_too_large

  bool send_contract_ = false;
  bool push_off_ = false;  // the server refuses our pushes for good; we still pull
  std::optional<Error> push_error_;

  // The request that is under way.
  Bytes nonce_;  // empty: no push in it
  Bytes chain_token_;
  bool push_more_ = false;
  bool page_more_ = true;
  Bytes cursor_;
  std::optional<Restored> restored_;  // what the answer said of the server

  Reactions since_progress_;
  int identities_ = 0;
  int anew_ = 0;
  int start_overs_ = 0;
  int pull_restarts_ = 0;
  int push_restarts_ = 0;
  std::optional<Error> last_failure_;
  std::optional<Done> done_;
};

}  // namespace rejoin::sync
