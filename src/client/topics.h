// Messages to topics, for those who have no file to sync.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sync/live_messages.h"

namespace rejoin::client {

struct TopicOptions {
  std::string token;
  std::string ca_file;
  std::function<bool()> cancelled;
};

// Ok when the server has taken it; nobody may have listened. Errors: bad_argument, network, unauthorized and the like,
// too_large, rate_limited.
Status send_to_topic(const std::string& url, const sync::AppMessage& message, const TopicOptions& options);

// Tells of every message until cancelled: ok then. `listening` once it has begun. Errors: as above; network also when
// the connection breaks.
Status listen_to_topics(const std::string& url, const std::vector<std::string>& topics,
                        const std::function<void()>& listening,
                        const std::function<void(const sync::AppMessage&)>& each, const TopicOptions& options);

}  // namespace rejoin::client
