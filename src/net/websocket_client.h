// A WebSocket to a server, for one thread: everything happens within its calls.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "net/http_client.h"
#include "net/url.h"
#include "net/websocket.h"

namespace rejoin::net {

struct WebSocketClientOptions {
  int64_t connect_timeout_ms = 10'000;  // name, connection, TLS and WebSocket handshake together
  int64_t heartbeat_ms = 30'000;  // silence after which the server is asked for a sign of life; twice that ends it
  uint64_t max_message = 512ull << 20;
  std::string ca_file;              // PEM; empty: the system's store
  std::function<bool()> cancelled;  // asked about ten times a second while a call waits
};

class WebSocketClient {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `refusal`, if given, gets the server's answer when it is not a WebSocket. Errors: network, timeout, interrupted;
  // those of a certificate file.
  static Result<std::unique_ptr<WebSocketClient>> open(const Url& url, const std::string& path,
                                                       const HttpHeaders& headers,
                                                       const WebSocketClientOptions& options,
                                                       std::optional<HttpReply>* refusal = nullptr);
  virtual ~WebSocketClient() = default;

  // Begins to send; what the connection does not take at once goes out within receive().
  virtual void send(Bytes message, bool text = false) = 0;
  // The next message; nothing when `until` has come, when woken, or when cancelled. Errors: network (the connection is
  // gone; see close_code).
  virtual Result<std::optional<Bytes>> receive(Time until) = 0;
  // Any thread: a receive() that waits, or else the next one, gives up waiting.
  virtual void wake() = 0;
  // Says goodbye and waits for the server's a little.
  virtual void close(uint16_t code = kCloseNormal) = 0;
  // What the server closed with; 0 while open, kCloseAbnormal when it said nothing.
  virtual uint16_t close_code() const = 0;
  virtual const std::string& close_reason() const = 0;
};

// Makes TLS ready for use, so that what it does at the end of the process comes after what is registered for that
// later.
void prepare_tls();

}  // namespace rejoin::net
