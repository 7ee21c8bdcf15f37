#include "server/live_channel.h"

#include <algorithm>
#include <utility>

#include "server/message_json.h"

namespace rejoin::server {
namespace {

// Pages that are read before it is another request's turn in the tenant.
constexpr size_t kMostReads = 16;

std::shared_ptr<const Bytes> encoded(const sync::LiveEvent& event, bool text) {
  return std::make_shared<const Bytes>(text ? live_event_to_json(event) : sync::encode_live_event(event));
}

void erase(std::unordered_map<std::string, std::vector<LiveSession*>>& map, const std::string& key,
           LiveSession* session) {
  const auto it = map.find(key);
  if (it == map.end()) return;
  std::erase(it->second, session);
  if (it->second.empty()) map.erase(it);
}

}  // namespace

std::shared_ptr<LiveSession> LiveChannel::add(LiveSession& session, size_t per_device) {
  std::lock_guard lock(mutex_);
  session.at = sessions_.size();
  sessions_.push_back(&session);
  // In development mode devices have no names before their first message.
  if (session.device().empty()) return nullptr;
  std::vector<LiveSession*>& same = devices_[session.device()];
  same.push_back(&session);
  if (same.size() <= per_device) return nullptr;
  return same[same.size() - 1 - per_device]->shared_from_this();
}

bool LiveChannel::remove(LiveSession& session) {
  std::lock_guard lock(mutex_);
  sessions_.back()->at = session.at;
  sessions_[session.at] = sessions_.back();
  sessions_.pop_back();
  session.place = {};
  erase(devices_, session.device(), &session);
  for (const std::string& topic : session.topics) erase(topics_, topic, &session);
  return sessions_.empty();
}

void LiveChannel::listen(LiveSession& session, std::vector<std::string> topics) {
  std::sort(topics.begin(), topics.end());
  topics.erase(std::unique(topics.begin(), topics.end()), topics.end());
  std::lock_guard lock(mutex_);
  for (const std::string& topic : session.topics) erase(topics_, topic, &session);
  for (const std::string& topic : topics) topics_[topic].push_back(&session);
  session.topics = std::move(topics);
}

void LiveChannel::news(std::optional<Instant> since) {
  // First the time: a read that finds readers to look for takes it along.
  Instant known = since_;
  while (since && (known == Instant() || *since < known) && !since_.compare_exchange_weak(known, *since)) {
  }
  ++news_;
}

bool LiveChannel::begin_exchange(LiveSession& session) {
  std::lock_guard lock(mutex_);
  if (std::exchange(session.place.busy, true)) return false;
  session.place.asked = std::chrono::steady_clock::now();
  return true;
}

bool LiveChannel::end_exchange(LiveSession& session, const sync::SyncRequest& request,
                               const sync::SyncResponse& response, std::shared_ptr<const Bytes> message) {
  std::lock_guard lock(mutex_);
  LiveSession::Place& place = session.place;
  place.busy = false;
  if (message) session.send(std::move(message));
  if (request.pull) place.site = request.hello.site;
  const bool missed = std::exchange(place.missed, false);
  if (missed) place.seen = 0;
  if (!request.pull) return missed;
  place.following = response.page && !response.error;
  if (!place.following) return false;
  place.cursor = response.page->next_cursor;
  place.seen = 0;
  const bool current = !response.page->more;
  place.current = current ? place.asked : Instant();
  // What came meanwhile may be in the page, or not: the read that follows tells.
  const bool lacks = current && missed && place.lacks_since != Instant();
  place.lacks_since = lacks ? std::max(place.lacks_since, place.asked) : Instant();
  return missed || response.page->more;
}

bool LiveChannel::drained(LiveSession& session) {
  std::lock_guard lock(mutex_);
  return std::exchange(session.place.waiting, false);
}

LiveChannel::Delivery LiveChannel::deliver(const sync::AppMessage& message, const LiveSession* sender,
                                           uint64_t most_queued) {
  std::vector<std::shared_ptr<LiveSession>> listeners;
  {
    std::lock_guard lock(mutex_);
    const auto it = topics_.find(message.topic);
    if (it == topics_.end()) return {};
    for (LiveSession* session : it->second)
      if (session != sender) listeners.push_back(session->shared_from_this());
  }
  sync::LiveEvent event;
  event.message = message;
  std::shared_ptr<const Bytes> forms[2];
  Delivery out;
  for (const auto& session : listeners) {
    if (session->socket().queued() > most_queued) {
      ++out.dropped;
      continue;
    }
    std::shared_ptr<const Bytes>& form = forms[session->text()];
    if (!form) form = encoded(event, session->text());
    session->send(form);
    ++out.delivered;
  }
  return out;
}

// Those that can be sent something, by their view and place.
std::unordered_map<std::string, LiveChannel::Group> LiveChannel::groups(const ExchangeParts& parts, uint64_t news) {
  std::unordered_map<std::string, Group> out;
  std::optional<Instant> since;
  std::lock_guard lock(mutex_);
  for (LiveSession* session : sessions_) {
    LiveSession::Place& place = session->place;
    if (!place.following || place.waiting || place.seen == news) continue;
    if (!since) since = since_.exchange({});
    // Whatever it lacks, it did not lack when it was current.
    if (place.lacks_since == Instant() && place.current != Instant() && *since != Instant())
      place.lacks_since = std::max(*since, place.current);
    if (place.busy) {
      place.missed = true;
      continue;
    }
    if (session->socket().queued() > parts.settings.live.queue) {
      place.waiting = true;
      place.current = place.lacks_since = {};  // how late it is from now on is its own doing
      parts.metrics.live_slow_reader();
      continue;
    }
    const crdt::SiteId site = parts.settings.postgres.impersonate ? place.site : crdt::SiteId();
    Group& group = out[session->view() + '\0' + std::string(site.view()) + place.cursor];
    if (group.sessions.empty()) group.cursor = place.cursor, group.site = site;
    group.sessions.push_back(session->shared_from_this());
  }
  return out;
}

void LiveChannel::mark_seen(const Group& group, uint64_t news, Instant read) {
  std::lock_guard lock(mutex_);
  for (const auto& session : group.sessions) {
    LiveSession::Place& place = session->place;
    if (place.cursor == group.cursor) place.seen = news, place.current = read, place.lacks_since = {};
  }
}

Result<bool> LiveChannel::pump(const ExchangeParts& parts) {
  const uint64_t news = news_;
  const auto waiting = groups(parts, news);
  if (waiting.empty()) return false;
  bool more = false;
  sync::ServerFacts facts = sync::facts_of(parts.settings.sync, {}, parts.clock.now_ms());
  std::vector<Page> pages;  // sent when the store is free for others again
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(parts.settings.http.request_timeout_ms);
  REJOIN_TRY(parts.tenants.with(tenant_, deadline, [&](sync::TenantStore& store) -> Status {
    REJOIN_ASSIGN(const std::string fingerprint, store.contract_fingerprint());
    size_t reads = 0;
    for (const auto& entry : waiting) {
      const Group& group = entry.second;
      if (++reads > kMostReads) {
        more = true;
        break;
      }
      // Without a role, of no site: what a device wrote itself is left out where it writes (end_exchange).
      sync::PullRequest want;
      want.site = group.site;
      want.cursor = group.cursor;
      want.max_bytes = parts.settings.sync.page_bytes;
      want.who = &group.sessions.front()->who();
      const Instant read = std::chrono::steady_clock::now();
      Result<sync::PullReply> page = store.pull(want);
      // That one caller's role is refused is nothing to the others; its next exchange tells it.
      if (!page.ok() && code_retryable(page.error().code)) return page.error();
      if (!page.ok()) parts.metrics.error(page.error().code);
      if (page.ok()) parts.metrics.left_out(page->left_out.size());
      if (!page.ok() || (page->frame.empty() && page->evicted.empty() && page->next_cursor == want.cursor)) {
        mark_seen(group, news, page.ok() ? read : Instant());
        continue;
      }
      more |= page->more;
      facts.schema = sync::schema_for(group.sessions.front()->view(), fingerprint);
      pages.push_back({&group, std::move(*page), facts, news, read});
    }
    return {};
  }));
  for (Page& page : pages) more |= send(page, parts.metrics);
  return more;
}

// Encoded before anybody's place moves: between that and the sending nothing may come.
bool LiveChannel::send(Page& page, Metrics& metrics) {
  sync::SyncResponse response;
  response.facts = page.facts;
  response.page = sync::PageMessage{std::move(page.reply.frame), page.reply.next_cursor, page.reply.more,
                                    page.reply.restarted,        page.reply.rows,        std::move(page.reply.evicted)};
  std::shared_ptr<const Bytes> forms[2][2];
  bool wanted[2][2] = {};
  {
    std::lock_guard lock(mutex_);
    for (const auto& session : page.group->sessions) wanted[session->text()][session->may_relay()] = true;
  }
  for (const bool text : {false, true})
    for (const bool relay : {false, true}) {
      if (!wanted[text][relay]) continue;
      response.facts.may_relay = relay;
      sync::LiveEvent event;
      event.page = text ? response_to_json(response) : sync::encode_response(response);
      forms[text][relay] = encoded(event, text);
    }
  std::vector<std::pair<LiveSession*, const std::shared_ptr<const Bytes>*>> readers;
  bool look_again = false;
  Instant oldest;
  {
    std::lock_guard lock(mutex_);
    for (const auto& session : page.group->sessions) {
      LiveSession::Place& place = session->place;
      if (place.busy) place.missed = true;
      if (!place.following || place.busy || place.cursor != page.group->cursor) continue;
      const std::shared_ptr<const Bytes>& form = forms[session->text()][session->may_relay()];
      if (!form) {
        look_again = true;  // a message changed its form meanwhile
        continue;
      }
      place.cursor = page.reply.next_cursor;
      if (!page.reply.more) {
        place.seen = page.news, place.current = page.read;
        const Instant since = std::exchange(place.lacks_since, {});
        if (since != Instant() && (oldest == Instant() || since < oldest)) oldest = since;
      }
      readers.emplace_back(session.get(), &form);
    }
    metrics.live_page(readers.size());
    for (const auto& [session, form] : readers) session->send(*form);
  }
  if (oldest != Instant()) metrics.live_lag(std::chrono::steady_clock::now() - oldest);
  return look_again;
}

std::vector<std::shared_ptr<LiveSession>> LiveChannel::sessions() {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<LiveSession>> out;
  for (LiveSession* session : sessions_) out.push_back(session->shared_from_this());
  return out;
}

}  // namespace rejoin::server
