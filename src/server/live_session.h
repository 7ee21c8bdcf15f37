// One live connection: reads what its device says, and holds the place that its device has in the tenant's changes.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "net/websocket.h"
#include "server/live_caller.h"
#include "sync/live_messages.h"

namespace rejoin::server {

class LiveHub;
class LiveChannel;

// Close codes of this protocol, beside those of RFC 6455.
inline constexpr uint16_t kCloseExpired = 4401;    // the access token's time is up
inline constexpr uint16_t kCloseForbidden = 4403;  // a fresh token names somebody else
inline constexpr uint16_t kCloseReplaced = 4409;   // the device has connected too often: the oldest one goes

class LiveSession final : public net::WebSocketOwner, public std::enable_shared_from_this<LiveSession> {
 public:
  LiveSession(LiveHub& hub, LiveCaller caller);
  ~LiveSession() override;

  void on_open(std::shared_ptr<net::WebSocket> socket) override;
  void on_message(Bytes message, bool text) override;
  void on_drained() override;
  void on_closed(uint16_t code, const std::string& reason) override;

  const std::string& tenant() const { return caller_.tenant; }
  const std::string& device() const { return caller_.caller.device; }
  const std::string& view() const { return caller_.view; }
  // As whom shared pages are read for it: as its first token said. Those that renew it give the same view.
  const sync::Identity& who() const { return who_; }
  // With the channel's mutex held, while no exchange is under way.
  bool may_relay() const { return caller_.caller.may_relay; }
  bool text() const { return text_; }
  net::WebSocket& socket() const { return *socket_; }
  void send(std::shared_ptr<const Bytes> message) { socket_->send(std::move(message), text_); }
  void send(const sync::LiveEvent& event) { send(encoded(event)); }
  // About once a second, on the hub's thread.
  void look(int64_t now_ms, int64_t steady_ms);

  // The place in the changes; guarded by the channel's mutex.
  struct Place {
    bool following = false;
    bool busy = false;     // an exchange is under way, whose answer moves the place
    bool missed = false;   // news came meanwhile
    bool waiting = false;  // for its reader, before it is sent more
    uint64_t seen = 0;     // the channel's news() that were looked for in the store
    // When the last read began that left nothing more to be read; if there is something since then that the reader
    // lacks, when the oldest of it was made; when the exchange began. Nothing, when unknown.
    std::chrono::steady_clock::time_point current, lacks_since, asked;
    Bytes cursor;
    crdt::SiteId site;  // of the replica that reads
  };
  Place place;
  std::vector<std::string> topics;  // guarded by the channel's mutex
  size_t at = 0;                    // in the channel's list; guarded by its mutex

 private:
  void exchange(sync::SyncRequest request);
  void run(const sync::SyncRequest& request, std::chrono::steady_clock::time_point arrived);
  std::shared_ptr<const Bytes> encoded(const sync::LiveEvent& event) const;
  std::shared_ptr<const Bytes> answer_of(sync::SyncResponse& response);
  sync::SyncResponse refusal(const Error& error, int64_t retry_after_ms) const;
  void renew(const std::string& token);
  void pass_on(sync::AppMessage message);
  void refuse(const Error& error, int64_t retry_after_ms = 0);

  LiveHub& hub_;
  std::shared_ptr<LiveChannel> channel_;  // from on_open on
  LiveCaller caller_;                     // changed on the socket's thread only, while no exchange is under way
  const sync::Identity who_;
  std::atomic<int64_t> expires_ms_;
  std::shared_ptr<net::WebSocket> socket_;  // from on_open on
  std::atomic<bool> text_ = false;
  bool told_expiry_ = false;
  bool closed_ = false;
  std::chrono::steady_clock::time_point opened_;
};

}  // namespace rejoin::server
