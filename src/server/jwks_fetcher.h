// Keeps the keys of an identity service up to date: fetches its key set in a thread of its own, now and then and when a
// token names a key that is not known.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/log.h"
#include "net/http_client.h"
#include "server/key_set.h"

namespace rejoin::server {

struct JwksFetchOptions {
  int64_t pause_ms = 30'000;        // at least, between two fetches: strangers can name any key
  int64_t fresh_ms = 600'000;       // a set is fetched again when it is older than this,
  int64_t longest_ms = 3'600'000;   // or than its Cache-Control says, but then than this: revoked keys must go
  int64_t first_retry_ms = 1000;    // while there has never been a set; doubles up to `pause_ms`
  int64_t timeout_ms = 10'000;      // of a fetch
  std::string ca_file;              // for https; empty: the system's authorities
  std::function<int64_t()> now_ms;  // a steady clock; empty: the machine's
};

// https, or http to this machine. Errors: bad_argument.
Result<net::Url> parse_jwks_url(std::string_view text);

// Thread-safe.
class JwksFetcher {
 public:
  // `fixed` are keys that are always there beside the fetched ones. Waits for the end of the first fetch, whatever
  // comes of it: a server can start before the identity service does.
  JwksFetcher(net::Url url, KeySet fixed, JwksFetchOptions options, Log& log);
  // Breaks off what is under way.
  ~JwksFetcher();
  JwksFetcher(const JwksFetcher&) = delete;
  JwksFetcher& operator=(const JwksFetcher&) = delete;

  // The fixed keys and those of the last fetch that succeeded. Never waits for a fetch.
  std::shared_ptr<const KeySet> keys();
  // Asks for a fetch because the set lacks a key, if the pause is over. Ok: a fetch that succeeded lately did not bring
  // it, so there is no such key. Errors: overloaded (it may be there soon: the caller should come again).
  Status missing();
  // Ok once a fetch has succeeded.
  Status ready() const;

 private:
  struct Fetched;
  void run();
  Result<Fetched> fetch();
  Result<Fetched> fetch_once();
  void keep(const Fetched& fetched);
  void tell(const Result<Fetched>& fetched);
  int64_t now() const;

  const KeySet fixed_;
  const JwksFetchOptions options_;
  Log& log_;
  net::HttpClient client_;  // the thread's own, but for cancel()

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable first_;
  std::shared_ptr<const KeySet> keys_;
  bool stopping_ = false;
  bool asked_ = false;
  bool fetching_ = true;
  bool failed_ = false;     // the last fetch
  bool succeeded_ = false;  // ever
  int64_t last_ms_ = 0;     // when the last fetch ended
  int64_t due_ms_ = 0;      // when the next is due
  int64_t retry_ms_;
  std::thread thread_;  // last: uses all of the above
};

}  // namespace rejoin::server
