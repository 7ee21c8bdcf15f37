// The live connections of one tenant, and the reading of pages for them: one page for all that stand at the same place.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/exchange.h"
#include "server/live_session.h"

namespace rejoin::server {

class LiveChannel {
 public:
  explicit LiveChannel(std::string tenant) : tenant_(std::move(tenant)) {}

  const std::string& tenant() const { return tenant_; }

  // The session that has to go because its device has more than `per_device`, if any.
  std::shared_ptr<LiveSession> add(LiveSession& session, size_t per_device);
  // True when it was the last one.
  bool remove(LiveSession& session);
  void listen(LiveSession& session, std::vector<std::string> topics);

  // An exchange begins: false when one is under way already. It ends: `message`, its answer, is sent, and the reader
  // stands where it leaves it; true when news may wait behind it. No page overtakes the answer.
  bool begin_exchange(LiveSession& session);
  bool end_exchange(LiveSession& session, const sync::SyncRequest& request, const sync::SyncResponse& response,
                    std::shared_ptr<const Bytes> message);
  // There may be something in the store that readers don't have; when the oldest of it was made, or before, if known.
  void news(std::optional<std::chrono::steady_clock::time_point> since = {});
  // The socket has sent everything; true when the session waited for that.
  bool drained(LiveSession& session);

  // To all that listen to its topic but the sender: how many got it, and how many read too slowly.
  struct Delivery {
    size_t delivered = 0, dropped = 0;
  };
  Delivery deliver(const sync::AppMessage& message, const LiveSession* sender, uint64_t most_queued);

  // Reads pages and sends them, until everybody has everything or it is others' turn: then, true. On a worker, in the
  // tenant's lane. Errors: those of the store.
  Result<bool> pump(const ExchangeParts& parts);

  std::vector<std::shared_ptr<LiveSession>> sessions();

  std::atomic<bool> scheduled = false;  // a pump waits for its turn
  std::atomic<bool> again = false;      // one could not be scheduled, or failed

 private:
  // Those whom one page is for.
  struct Group {
    Bytes cursor;
    crdt::SiteId site;  // of the one replica that it is for, where what it was given is noted; else none
    std::vector<std::shared_ptr<LiveSession>> sessions;
  };
  using Instant = std::chrono::steady_clock::time_point;
  struct Page {
    const Group* group;
    sync::PullReply reply;
    sync::ServerFacts facts;
    uint64_t news;
    Instant read;  // begun
  };
  std::unordered_map<std::string, Group> groups(const ExchangeParts& parts, uint64_t news);
  // They have what the store had at that instant; none: it could not be read for them.
  void mark_seen(const Group& group, uint64_t news, Instant read);
  // True when somebody has to be looked at again.
  bool send(Page& page, Metrics& metrics);

  const std::string tenant_;
  std::atomic<uint64_t> news_ = 1;
  std::atomic<Instant> since_{};  // the oldest news that no read has begun for; nothing: none, or unknown
  std::mutex mutex_;
  std::vector<LiveSession*> sessions_;
  std::unordered_map<std::string, std::vector<LiveSession*>> topics_;
  std::unordered_map<std::string, std::vector<LiveSession*>> devices_;  // the oldest first
};

}  // namespace rejoin::server
