#include "server/live_hub.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace rejoin::server {
namespace {

constexpr std::chrono::milliseconds kLook{1000};
// How soon a pump that found no room, or no store, is tried again.
constexpr std::chrono::milliseconds kAgain{100};

}  // namespace

LiveHub::LiveHub(const ExchangeParts& parts, Log& log)
    : parts_(parts), settings_(parts.settings.live), log_(log), messages_(parts.settings.live.messages) {}

LiveHub::~LiveHub() { stop(); }

void LiveHub::start(LiveGate& gate, Submit submit, std::unique_ptr<LiveFeed> feed) {
  gate_ = &gate;
  submit_ = std::move(submit);
  feed_ = std::move(feed);
  looker_ = std::thread([this] { look_after(); });
}

void LiveHub::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (looker_.joinable()) looker_.join();
  feed_.reset();
}

Result<std::shared_ptr<net::WebSocketOwner>> LiveHub::admit(LiveCaller caller) {
  if (settings_.connections == 0)
    return fail(Code::unsupported, "this server takes no live connections; sync with POST /v1/sync");
  {
    std::lock_guard lock(mutex_);
    if (admitted_ >= settings_.connections)
      return fail(Code::overloaded, "the server has as many live connections as it allows (" +
                                        std::to_string(settings_.connections) + "); try again later");
    ++admitted_;
  }
  // From here on it is the session that gives the place back.
  return std::shared_ptr<net::WebSocketOwner>(std::make_shared<LiveSession>(*this, std::move(caller)));
}

std::shared_ptr<LiveChannel> LiveHub::opened(LiveSession& session) {
  std::shared_ptr<LiveSession> replaced;
  std::lock_guard lock(mutex_);
  std::shared_ptr<LiveChannel>& channel = channels_[session.tenant()];
  if (!channel) {
    channel = std::make_shared<LiveChannel>(session.tenant());
    feed_->follow(session.tenant());
  }
  replaced = channel->add(session, settings_.per_device);
  if (replaced) replaced->socket().close(kCloseReplaced, "this device has connected again");
  parts_.metrics.live_connections(++open_);
  return channel;
}

void LiveHub::closed(LiveSession& session, const std::shared_ptr<LiveChannel>& channel, int code) {
  std::lock_guard lock(mutex_);
  --admitted_;
  if (!channel) return;
  parts_.metrics.live_closed(code);
  parts_.metrics.live_connections(--open_);
  if (!channel->remove(session)) return;
  channels_.erase(session.tenant());
  if (feed_) feed_->unfollow(session.tenant());
}

std::shared_ptr<LiveChannel> LiveHub::find(const std::string& tenant) {
  std::lock_guard lock(mutex_);
  const auto it = channels_.find(tenant);
  return it == channels_.end() ? nullptr : it->second;
}

void LiveHub::wake(const std::string& tenant, LiveFeed::Heard::Since since) {
  if (const auto channel = find(tenant)) channel->news(since), schedule(channel);
}

void LiveHub::grown(const std::string& tenant) {
  wake(tenant, std::chrono::steady_clock::now());
  feed_->grown(tenant);
}

// Wakes that come while a pump waits for its turn are one: it reads what all of them were about.
void LiveHub::schedule(const std::shared_ptr<LiveChannel>& channel) {
  if (channel->scheduled.exchange(true)) return;
  if (submit_(channel->tenant(), [this, channel] { pump(channel); })) return;
  channel->scheduled = false;
  channel->again = true;
}

void LiveHub::pump(const std::shared_ptr<LiveChannel>& channel) {
  channel->scheduled = false;
  try {
    const Result<bool> more = channel->pump(parts_);
    if (more.ok() && *more) schedule(channel);
    if (more.ok()) return;
    parts_.metrics.error(more.error().code);
    log_.write(LogLevel::warning, "live_page_failed",
               {{"tenant", channel->tenant()},
                {"error", std::string(code_name(more.error().code))},
                {"message", more.error().message}});
  } catch (const std::exception& e) {
    log_.write(LogLevel::error, "handler_threw", {{"what", e.what()}, {"path", "/v1/live"}});
  }
  channel->again = true;
}

void LiveHub::heard(const std::string& tenant, BytesView message) {
  const auto channel = find(tenant);
  if (!channel) return;
  const Result<sync::LiveEvent> event = sync::decode_live_event(message);
  if (!event.ok() || !event->message) return;
  const LiveChannel::Delivery done = channel->deliver(*event->message, nullptr, settings_.queue);
  parts_.metrics.live_messages("delivered", done.delivered);
  parts_.metrics.live_messages("dropped", done.dropped);
}

void LiveHub::pass_on(LiveChannel& channel, const sync::AppMessage& message, const LiveSession* sender) {
  parts_.metrics.live_messages("received", 1);
  const LiveChannel::Delivery done = channel.deliver(message, sender, settings_.queue);
  parts_.metrics.live_messages("delivered", done.delivered);
  parts_.metrics.live_messages("dropped", done.dropped);
  sync::LiveEvent event;
  event.message = message;
  feed_->tell(channel.tenant(), sync::encode_live_event(event));
}

bool LiveHub::reserve(uint64_t bytes) {
  if (pushed_bytes_.fetch_add(bytes) + bytes <= parts_.settings.http.body_budget) return true;
  pushed_bytes_ -= bytes;
  return false;
}

int64_t LiveHub::take_message(const std::string& tenant, const std::string& device) {
  return messages_.take(tenant + '\0' + device, std::chrono::steady_clock::now());
}

void LiveHub::look_after() {
  using Clock = std::chrono::steady_clock;
  Clock::time_point next = Clock::now();
  // What a role may see changes without anything being committed that a log tells of.
  const PostgresSettings& postgres = parts_.settings.postgres;
  const std::chrono::milliseconds recheck(std::max<int64_t>(postgres.recheck_ms, kLook.count()));
  Clock::time_point next_recheck = postgres.impersonate ? next + recheck : Clock::time_point::max();
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, kAgain, [this] { return stopping_; })) {
    std::vector<std::shared_ptr<LiveChannel>> channels;
    for (const auto& [tenant, channel] : channels_) channels.push_back(channel);
    lock.unlock();
    for (const auto& channel : channels)
      if (channel->again.exchange(false)) schedule(channel);
    if (Clock::now() >= next_recheck) {
      next_recheck = Clock::now() + recheck;
      for (const auto& channel : channels) channel->news(), schedule(channel);
    }
    if (Clock::now() >= next) {
      next = Clock::now() + kLook;
      const int64_t steady_ms =
          std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch()).count();
      for (const auto& channel : channels)
        for (const auto& session : channel->sessions()) session->look(parts_.clock.now_ms(), steady_ms);
    }
    channels.clear();
    lock.lock();
  }
}

}  // namespace rejoin::server
