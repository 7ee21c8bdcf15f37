// One WebSocket (RFC 6455), either end, as its owner sees it. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"

namespace rejoin::net {

// Close codes of RFC 6455 section 7.4.1; 4000 to 4999 are an application's own.
inline constexpr uint16_t kCloseNormal = 1000;
inline constexpr uint16_t kCloseGoingAway = 1001;
inline constexpr uint16_t kCloseProtocol = 1002;
inline constexpr uint16_t kCloseAbnormal = 1006;  // never sent: the connection broke without a word
inline constexpr uint16_t kClosePolicy = 1008;
inline constexpr uint16_t kCloseInternal = 1011;
inline constexpr uint16_t kCloseTryAgain = 1013;

class WebSocket {
 public:
  virtual ~WebSocket() = default;
  // Queues a message. Its bytes are not copied: many sockets may share them.
  virtual void send(std::shared_ptr<const Bytes> message, bool text) = 0;
  // Bytes of messages that are queued or under way.
  virtual size_t queued() const = 0;
  // Since when (steady clock, ms) a piece of a message has been waiting for the peer to read; 0: none has.
  virtual int64_t waiting_since_ms() const = 0;
  // Says goodbye, in front of what is still queued; later messages are dropped. `reason` has at most 123 bytes.
  virtual void close(uint16_t code, std::string reason) = 0;
  // Without a word.
  virtual void cut() = 0;
};

// What happens on a socket: on its thread, one call at a time, in order.
class WebSocketOwner {
 public:
  virtual ~WebSocketOwner() = default;
  virtual void on_open(std::shared_ptr<WebSocket> socket) = 0;
  virtual void on_message(Bytes message, bool text) = 0;
  // Everything that was queued is sent.
  virtual void on_drained() = 0;
  // The last call, also when it never opened. `code` and `reason` are the peer's, if it gave any.
  virtual void on_closed(uint16_t code, const std::string& reason) = 0;
};

}  // namespace rejoin::net
