// All live connections of this server: admits them, wakes those of a tenant that has news, and looks after them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/log.h"
#include "server/exchange.h"
#include "server/live_channel.h"
#include "server/live_feed.h"
#include "server/rate_limit.h"

namespace rejoin::server {

// Thread-safe.
class LiveHub {
 public:
  // Runs a job among the requests of a lane; false: it cannot now.
  using Submit = std::function<bool(const std::string& lane, std::function<void()> job)>;

  LiveHub(const ExchangeParts& parts, Log& log);
  ~LiveHub();
  // Before the first connection.
  void start(LiveGate& gate, Submit submit, std::unique_ptr<LiveFeed> feed);
  // After the last one: ends the threads.
  void stop();

  // Errors: overloaded (as many as are allowed), unsupported (none are).
  Result<std::shared_ptr<net::WebSocketOwner>> admit(LiveCaller caller);
  // The tenant has news, or may have; `since`: LiveFeed::Heard.
  void wake(const std::string& tenant, LiveFeed::Heard::Since since = {});
  // A request here has made the tenant's log longer.
  void grown(const std::string& tenant);
  // A message from another node.
  void heard(const std::string& tenant, BytesView message);

  // ---- for sessions
  std::shared_ptr<LiveChannel> opened(LiveSession& session);
  void closed(LiveSession& session, const std::shared_ptr<LiveChannel>& channel, int code);  // null: it never opened
  void schedule(const std::shared_ptr<LiveChannel>& channel);
  void pass_on(LiveChannel& channel, const sync::AppMessage& message, const LiveSession* sender);
  // 0, or how long a device has to wait before it sends another message.
  int64_t take_message(const std::string& tenant, const std::string& device);
  bool submit(const std::string& lane, std::function<void()> job) { return submit_(lane, std::move(job)); }
  const ExchangeParts& parts() const { return parts_; }
  // Of what pushes that wait or run keep in memory: false when it would be more than bodies may take.
  bool reserve(uint64_t bytes);
  void release(uint64_t bytes) { pushed_bytes_ -= bytes; }
  LiveGate& gate() { return *gate_; }
  Log& log() { return log_; }

 private:
  std::shared_ptr<LiveChannel> find(const std::string& tenant);
  void pump(const std::shared_ptr<LiveChannel>& channel);
  void look_after();

  const ExchangeParts parts_;
  std::atomic<uint64_t> pushed_bytes_ = 0;
  const LiveSettings& settings_;
  Log& log_;
  LiveGate* gate_ = nullptr;
  Submit submit_;
  RateLimiter messages_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<LiveChannel>> channels_;
  size_t admitted_ = 0;  // those that are not open yet included
  size_t open_ = 0;
  bool stopping_ = false;
  std::condition_variable stop_;
  std::thread looker_;
  std::unique_ptr<LiveFeed> feed_;
};

}  // namespace rejoin::server
