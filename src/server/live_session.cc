#include "server/live_session.h"

#include <utility>

#include "server/live_channel.h"
#include "server/live_hub.h"
#include "server/message_json.h"

namespace rejoin::server {

using SteadyClock = std::chrono::steady_clock;

namespace {

// Of answers, beside what is on the way of pages: the largest one, and a few small ones.
constexpr uint64_t kMostUnread = 16 << 20;

}  // namespace

LiveSession::LiveSession(LiveHub& hub, LiveCaller caller)
    : hub_(hub),
      caller_(std::move(caller)),
      who_(caller_.caller.who),
      expires_ms_(caller_.expires_ms),
      opened_(SteadyClock::now()) {}

LiveSession::~LiveSession() {
  if (!closed_) hub_.closed(*this, nullptr, 0);  // it was admitted, and then was no WebSocket
}

void LiveSession::on_open(std::shared_ptr<net::WebSocket> socket) {
  socket_ = std::move(socket);
  channel_ = hub_.opened(*this);
}

void LiveSession::on_closed(uint16_t code, const std::string& reason) {
  closed_ = true;
  hub_.closed(*this, channel_, code);
  if (!channel_) return;
  const auto open = std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - opened_);
  hub_.log().write(LogLevel::info, "live_closed",
                   {{"id", caller_.id},
                    {"code", code},
                    {"message", reason},
                    {"ms", open.count()},
                    {"remote", caller_.remote},
                    {"tenant", caller_.tenant},
                    {"device", caller_.caller.device}});
}

void LiveSession::on_drained() {
  if (channel_->drained(*this)) hub_.schedule(channel_);
}

std::shared_ptr<const Bytes> LiveSession::encoded(const sync::LiveEvent& event) const {
  return std::make_shared<const Bytes>(text_ ? live_event_to_json(event) : sync::encode_live_event(event));
}

void LiveSession::on_message(Bytes message, bool text) {
  text_ = text;
  // Whoever asks and asks without reading the answers.
  if (socket_->queued() > hub_.parts().settings.live.queue + kMostUnread)
    return socket_->close(net::kClosePolicy, "read what was sent before you send more");
  const sync::MessageLimits limits = sync::message_limits(hub_.parts().settings.sync);
  Result<sync::LiveRequest> request =
      text ? live_request_from_json(message, limits) : sync::decode_live_request(message, limits);
  message = Bytes();
  // Exchanges have a rate of their own; all else shares one.
  const bool other = !request.ok() || !request->token.empty() || request->listen || request->message;
  if (const int64_t wait_ms = other ? hub_.take_message(caller_.tenant, caller_.caller.device) : 0) {
    hub_.parts().metrics.rate_limited("message");
    refuse(fail(Code::rate_limited, "this device sends more messages than it may; wait " + std::to_string(wait_ms) +
                                        " ms. What came in this one was not done"),
           wait_ms);
    if (!request.ok() || !request->sync) return;
    request->token.clear();
    request->listen.reset();
    request->message.reset();
  }
  if (!request.ok()) return refuse(request.error());
  if (!request->token.empty()) renew(request->token);
  if (request->listen) channel_->listen(*this, std::move(*request->listen));
  if (request->message) pass_on(std::move(*request->message));
  if (request->sync) exchange(std::move(*request->sync));
}

void LiveSession::refuse(const Error& error, int64_t retry_after_ms) {
  hub_.parts().metrics.error(error.code);
  sync::LiveEvent event;
  event.error = sync::WireError{error.code, error.message, static_cast<uint64_t>(retry_after_ms)};
  send(event);
}

// ---- exchanges
// ---------------------------------------------------------------------------------------------------------------

sync::SyncResponse LiveSession::refusal(const Error& error, int64_t retry_after_ms) const {
  const ExchangeParts& parts = hub_.parts();
  parts.metrics.error(error.code);
  return sync::error_response(error, sync::facts_of(parts.settings.sync, caller_.caller, parts.clock.now_ms()),
                              static_cast<uint64_t>(retry_after_ms));
}

void LiveSession::exchange(sync::SyncRequest request) {
  if (!channel_->begin_exchange(*this))
    return socket_->close(net::kClosePolicy, "one exchange at a time: wait for the answer");
  // In development mode the site names the device. Here, as nobody else looks now.
  if (caller_.caller.device.empty()) caller_.caller.device = to_hex(request.hello.site.view());
  Error why{};
  int64_t wait_ms = hub_.gate().too_often(caller_.tenant, caller_.caller.device, why);
  const uint64_t bytes = request.push ? request.push->frame.size() : 0;
  if (wait_ms == 0 && !hub_.reserve(bytes)) {
    why = fail(Code::overloaded, "the server is receiving too much at once; try again shortly");
    wait_ms = kRetryAfterMs;
  }
  if (wait_ms == 0) {
    // The job has to be copyable.
    const std::shared_ptr<const sync::SyncRequest> held(new sync::SyncRequest(std::move(request)),
                                                        [&hub = hub_, bytes](const sync::SyncRequest* done) {
                                                          delete done;
                                                          hub.release(bytes);
                                                        });
    if (hub_.submit(caller_.tenant,
                    [self = shared_from_this(), held, arrived = SteadyClock::now()] { self->run(*held, arrived); }))
      return;
    why = fail(Code::overloaded, "the server has more requests than it can work on; try again shortly");
    wait_ms = kRetryAfterMs;
  }
  sync::SyncResponse response = refusal(why, wait_ms);
  const auto message = answer_of(response);
  if (channel_->end_exchange(*this, {}, response, message)) hub_.schedule(channel_);
}

// On a worker. Nothing but this changes the caller meanwhile.
void LiveSession::run(const sync::SyncRequest& request, SteadyClock::time_point arrived) {
  const ExchangeParts& parts = hub_.parts();
  const auto begun = SteadyClock::now();
  sync::ServeStats stats;
  sync::SyncResponse response;
  try {
    const auto deadline = arrived + std::chrono::milliseconds(parts.settings.http.request_timeout_ms);
    Result<sync::SyncResponse> done = begun >= deadline
                                          ? fail(Code::timeout, "the request waited too long for its turn; try again")
                                          : run_exchange(parts, caller_.tenant, caller_.caller, request, deadline,
                                                         std::chrono::duration<double>(begun - arrived).count(), stats);
    if (done.ok()) {
      response = std::move(*done);
      if (response.error) parts.metrics.error(response.error->code);
    } else {
      response = refusal(done.error(), code_retryable(done.error().code) ? kRetryAfterMs : 0);
    }
  } catch (const std::bad_alloc&) {
    response = refusal(fail(Code::overloaded, "the server is short of memory; try again"), kRetryAfterMs);
  } catch (const std::exception& e) {
    hub_.log().write(LogLevel::error, "handler_threw", {{"what", e.what()}, {"path", "/v1/live"}});
    response = refusal(fail(Code::internal, "the server failed on this request; its log says more"), 0);
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - arrived);
  hub_.log().write(response.error ? LogLevel::warning : LogLevel::info, "live_exchange",
                   {{"id", caller_.id},
                    {"ms", took.count()},
                    {"tenant", caller_.tenant},
                    {"device", caller_.caller.device},
                    {"pushed", stats.rows_pushed},
                    {"pulled", stats.rows_pulled},
                    {"refused", stats.refused.size()},
                    {"error", response.error ? std::string(code_name(response.error->code)) : std::string()},
                    {"message", response.error ? response.error->message : std::string()}});
  const auto message = answer_of(response);
  if (channel_->end_exchange(*this, request, response, message)) hub_.schedule(channel_);
}

std::shared_ptr<const Bytes> LiveSession::answer_of(sync::SyncResponse& response) {
  make_texts_valid(response);
  sync::LiveEvent event;
  event.response = text_ ? response_to_json(response) : sync::encode_response(response);
  if (const int64_t expires = expires_ms_; expires != 0 && !std::exchange(told_expiry_, true))
    event.expires_in_ms = static_cast<uint64_t>(std::max<int64_t>(expires - hub_.parts().clock.now_ms(), 1));
  return encoded(event);
}

// ---- the rest
// ----------------------------------------------------------------------------------------------------------------

void LiveSession::renew(const std::string& token) {
  Result<LiveCaller> fresh = hub_.gate().renew(token);
  if (!fresh.ok()) return refuse(fresh.error(), code_retryable(fresh.error().code) ? kRetryAfterMs : 0);
  if (fresh->tenant != caller_.tenant || fresh->caller.device != caller_.caller.device || fresh->view != caller_.view)
    return socket_->close(kCloseForbidden, "the fresh token is of another tenant or device");
  // What the token allows is read by exchanges, on other threads.
  if (!channel_->begin_exchange(*this))
    return refuse(fail(Code::busy, "an exchange is under way; send the token after its answer"), kRetryAfterMs);
  caller_.caller = std::move(fresh->caller);
  expires_ms_ = fresh->expires_ms;
  if (channel_->end_exchange(*this, {}, {}, nullptr)) hub_.schedule(channel_);
  sync::LiveEvent event;
  event.expires_in_ms = static_cast<uint64_t>(std::max<int64_t>(fresh->expires_ms - hub_.parts().clock.now_ms(), 1));
  send(event);
}

void LiveSession::pass_on(sync::AppMessage message) {
  message.from = caller_.caller.device;
  hub_.pass_on(*channel_, message, this);
}

void LiveSession::look(int64_t now_ms, int64_t steady_ms) {
  const int64_t expires = expires_ms_;
  if (expires != 0 && now_ms >= expires)
    socket_->close(kCloseExpired, "the access token has expired; connect with a fresh one");
  const int64_t waiting = socket_->waiting_since_ms();
  if (waiting != 0 && steady_ms - waiting > hub_.parts().settings.live.stall_ms) socket_->cut();
}

}  // namespace rejoin::server
