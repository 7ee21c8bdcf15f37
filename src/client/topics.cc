#include "client/topics.h"

#include <chrono>
#include <memory>
#include <optional>

#include "client/live_socket.h"

namespace rejoin::client {
namespace {

using SteadyClock = std::chrono::steady_clock;

Result<std::unique_ptr<net::WebSocketClient>> open(const std::string& url, const TopicOptions& options) {
  REJOIN_ASSIGN(const net::Url address, net::parse_url(url));
  int64_t retry_after_ms = 0;
  return open_live_socket(address, options.token, options.ca_file, options.cancelled, retry_after_ms);
}

Result<sync::LiveEvent> read(const Bytes& message) {
  Result<sync::LiveEvent> event = sync::decode_live_event(message);
  if (!event.ok()) return fail(Code::network, "the server's message is damaged: " + event.error().message);
  if (event->error) return Error{event->error->code, event->error->message};
  return event;
}

}  // namespace

Status send_to_topic(const std::string& url, const sync::AppMessage& message, const TopicOptions& options) {
  sync::LiveRequest request;
  request.message = message;
  REJOIN_TRY(sync::check_live_request(request, {}));
  REJOIN_ASSIGN(const std::unique_ptr<net::WebSocketClient> socket, open(url, options));
  socket->send(sync::encode_live_request(request));
  // The server reads in order: it answers the goodbye when it has taken the message, or has said why not.
  socket->close();
  for (;;) {
    Result<std::optional<Bytes>> heard = socket->receive(SteadyClock::now());
    if (!heard.ok()) break;
    if (!*heard) return fail(Code::timeout, "the server did not confirm that it has the message; try again");
    REJOIN_TRY(read(**heard));
  }
  if (socket->close_code() == net::kCloseNormal) return {};
  return fail(Code::network, "the connection broke before the server had the message; try again");
}

Status listen_to_topics(const std::string& url, const std::vector<std::string>& topics,
                        const std::function<void()>& listening,
                        const std::function<void(const sync::AppMessage&)>& each, const TopicOptions& options) {
  sync::LiveRequest request;
  request.listen = topics;
  REJOIN_TRY(sync::check_live_request(request, {}));
  REJOIN_ASSIGN(const std::unique_ptr<net::WebSocketClient> socket, open(url, options));
  socket->send(sync::encode_live_request(request));
  listening();
  for (;;) {
    REJOIN_ASSIGN(const std::optional<Bytes> heard, socket->receive(SteadyClock::now() + std::chrono::seconds(1)));
    if (options.cancelled && options.cancelled()) return socket->close(), Status();
    if (!heard) continue;
    REJOIN_ASSIGN(const sync::LiveEvent event, read(*heard));
    if (event.message) each(*event.message);
  }
}

}  // namespace rejoin::client
