// An HTTP/1.1 server: few threads for the sockets, a bounded pool for the work, limits on everything a peer can make
// large or slow.
//
// A request goes through three calls of its owner:
//   admit   on a socket thread, with the head only, before a byte of the body is read: answers at once (a refusal, a
//   health check), lets the connection become a WebSocket, or lets
//           the body come and names the lane (a tenant) of which few requests run at once. Must be quick.
//   handle  on a pool thread, with the whole body (decompressed).
//   refuse  makes the body of a refusal that this room decides itself (limits, malformed HTTP), in the owner's format.
#pragma once

#include <any>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/log.h"
#include "base/result.h"
#include "net/forwarded.h"
#include "net/http_client.h"
#include "net/websocket.h"

namespace rejoin::net {

struct HttpRequest {
  std::string method;
  std::string path;     // without the query
  HttpHeaders headers;  // names in lower case
  std::string remote;   // address of the peer; behind a trusted proxy, of the proxy's
  bool loopback = false;
  bool https = false;                              // TLS here, or at a trusted proxy
  Bytes body;                                      // empty in admit
  uint64_t wire_bytes = 0;                         // of the body, as it came
  std::chrono::steady_clock::time_point deadline;  // by when the answer should be there
  std::chrono::steady_clock::time_point arrived;
  double queued_seconds = 0;  // how long it waited for a worker, in handle and done

  // What admit decides for handle.
  std::string lane;
  std::any context;
  std::shared_ptr<WebSocketOwner> upgrade;  // set: the connection becomes a WebSocket of this owner's
  HttpHeaders upgrade_headers;              // for the answer to that

  // The first header of this (lower-case) name; empty when absent.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type;
  HttpHeaders headers;
  Bytes body;
};

struct HttpServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;  // 0: a free one
  size_t socket_threads = 2;
  size_t workers = 4;
  size_t queue = 1024;             // requests that wait for a worker
  int64_t queue_wait_ms = 10'000;  // no more are taken when one that could run has waited so long
  size_t queue_per_lane = 64;
  size_t at_once_per_lane = 1;
  size_t connections = 1024;
  uint64_t max_body = 32ull << 20;      // as it comes, and again after decompression
  uint64_t body_budget = 512ull << 20;  // bodies of all requests under way together
  uint32_t max_head = 16 << 10;
  int64_t head_timeout_ms = 10'000;         // from the first byte of a request to the end of its head
  int64_t idle_timeout_ms = 75'000;         // a kept connection without a request
  int64_t stall_timeout_ms = 15'000;        // between two pieces of a body or of an answer
  int64_t request_timeout_ms = 120'000;     // a whole request, work included; and again its answer's way out
  int64_t heartbeat_ms = 30'000;            // of WebSockets: silence before a ping; after twice that they are cut
  int64_t stop_timeout_ms = 20'000;         // how long stop() lets requests finish
  std::string tls_cert_file, tls_key_file;  // PEM; both or none: then it speaks plain HTTP
  std::vector<Cidr> trusted_proxies;        // whose X-Forwarded-For and X-Forwarded-Proto are believed
};

struct HttpHandlers {
  std::function<std::optional<HttpResponse>(HttpRequest&)> admit;
  std::function<HttpResponse(HttpRequest&)> handle;
  std::function<HttpResponse(const HttpRequest&, const Error&, int64_t retry_after_ms)> refuse;
  // After every answer, the refused ones included; on any thread. `sent` are the body's bytes on the wire.
  std::function<void(const HttpRequest&, const HttpResponse&, uint64_t sent)> done;
  // After every TLS handshake, if there is someone to be told: "done", "failed", "plain_http" (the peer spoke HTTP
  // without TLS) or "timeout".
  std::function<void(std::string_view outcome)> handshake;
};

struct HttpServerGauges {
  size_t connections = 0;  // WebSockets are none of them
  size_t waiting = 0;      // requests, for a worker
  size_t working = 0;      // requests that have one
  uint64_t body_bytes = 0;
  int64_t certificate_expires = 0;  // in seconds since 1970; 0 without TLS
};

class HttpServer {
 public:
  // Listens when it returns. Errors: bad_argument (address), network (port taken or not allowed), with the cure.
  // Also those of TlsIdentity::load.
  static Result<std::unique_ptr<HttpServer>> start(HttpServerOptions options, HttpHandlers handlers, Log& log);
  virtual ~HttpServer() = default;
  virtual uint16_t port() const = 0;
  virtual HttpServerGauges gauges() const = 0;
  // Runs a job among the requests of a lane. False: too many wait already, or the server stops. Any thread.
  virtual bool submit(const std::string& lane, std::function<void()> job) = 0;
  // Reads the certificate and the key again, for connections that come from now on; when they cannot be used, the old
  // ones stay. Does nothing without TLS. Any thread. Errors: those of TlsIdentity::load.
  virtual Status reload() = 0;
  // Accepts no more, closes idle connections, says goodbye to WebSockets, lets requests finish until the deadline, then
  // cuts. Idempotent, any thread but its own.
  virtual void stop() = 0;
};

}  // namespace rejoin::net
