// A small HTTP/1.1 client over http:// and https:// (system CA store, host name verified), with keep-alive, deadlines
// and cancel.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "net/url.h"

namespace rejoin::net {

struct HttpClientOptions {
  int64_t connect_timeout_ms = 10'000;  // name, connection and TLS handshake together
  int64_t idle_timeout_ms = 60'000;     // without a byte in either direction
  uint64_t max_reply_bytes = 512ull << 20;
  std::string ca_file;              // PEM; empty: the system's store
  std::function<bool()> cancelled;  // asked about ten times a second while a call waits; true is like cancel()
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpReply {
  int status = 0;
  HttpHeaders headers;  // names in lower case
  Bytes body;

  // The first header of this (lower-case) name; empty when absent.
  std::string_view header(std::string_view name) const;
  // Retry-After in milliseconds (seconds form only); 0 when absent.
  int64_t retry_after_ms() const;
};

struct HttpCall {
  std::string method = "POST";
  std::string path;  // appended to the address's prefix; starts with a slash
  HttpHeaders headers;
  BytesView body;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

class HttpConnection;

// One connection at a time, opened when first needed. One thread at a time, but for cancel().
class HttpClient {
 public:
  explicit HttpClient(Url url, HttpClientOptions options = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any status is a reply. Errors: network (unreachable, broken connection, certificate), timeout, interrupted
  // (cancel), too_large (the reply); messages name the server and the cure. A kept connection that turns out dead is
  // replaced once: callers must only send requests that may be repeated. Redirects are not followed.
  Result<HttpReply> send(const HttpCall& call);
  Result<HttpReply> post(const std::string& path, HttpHeaders headers, BytesView body,
                         std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max());
  Result<HttpReply> get(const std::string& path, HttpHeaders headers = {});

  // From any thread: the call under way and all later ones end with `interrupted`.
  void cancel();

  const Url& url() const { return url_; }

 private:
  Url url_;
  std::unique_ptr<HttpConnection> connection_;
};

}  // namespace rejoin::net
