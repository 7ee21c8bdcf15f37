// What HttpClient needs of a connection, so that Beast's stream types stay in two files (http_plain.cc, http_tls.cc).
#pragma once

#include <memory>

#include "base/result.h"
#include "net/http_client.h"

namespace rejoin::net {

class HttpConnection {
 public:
  virtual ~HttpConnection() = default;
  virtual bool connected() const = 0;
  virtual Status connect(std::chrono::steady_clock::time_point deadline) = 0;
  // `*stale` is set when the connection broke before a byte of the reply came: it may have been dead for a while.
  virtual Result<HttpReply> exchange(const HttpCall& call, bool* stale) = 0;
  virtual void close() = 0;
  // From any thread, for good.
  virtual void cancel() = 0;
};

std::unique_ptr<HttpConnection> make_plain_connection(const Url& url, const HttpClientOptions& options);
std::unique_ptr<HttpConnection> make_tls_connection(const Url& url, const HttpClientOptions& options);

}  // namespace rejoin::net
