// A WebSocket over any ServerStream. Internal to `net`.
#pragma once

#include <atomic>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/server_stream.h"
#include "net/websocket.h"

namespace rejoin::net {

struct WebSocketOptions {
  uint64_t max_message = 32ull << 20;
  int64_t heartbeat_ms = 30'000;  // silence after which the peer is asked for a sign of life; after twice that, cut
  int64_t close_ms = 5'000;       // for a handshake and for the peer's answer to a goodbye
};

// Few bytes while nothing happens: no buffer is held but the ones inside of Beast's stream. Lives as long as an
// operation of its own is under way. Everything that is not of WebSocket runs on the stream's strand.
class WebSocketSession final : public WebSocket, public std::enable_shared_from_this<WebSocketSession> {
 public:
  using Request = boost::beast::http::request<boost::beast::http::string_body>;
  using ErrorCode = boost::system::error_code;
  using Fields = std::vector<std::pair<std::string, std::string>>;
  // Asked before so many bytes of a large message are kept, in total; false ends the connection. With 0 they are free
  // again.
  using Reserve = std::function<bool(uint64_t total)>;

  WebSocketSession(std::unique_ptr<ServerStream> stream, std::shared_ptr<WebSocketOwner> owner,
                   const WebSocketOptions& options, Reserve reserve = nullptr);
  ~WebSocketSession() override;

  // The server's end: answers the request, with these fields beside those of the handshake. `done` on the strand.
  void accept(const Request& request, Fields fields);
  // The client's end: asks, with these fields. `done` gets the server's answer.
  void connect(const std::string& host, const std::string& target, Fields fields,
               std::function<void(ErrorCode, const boost::beast::websocket::response_type&)> done);

  void send(std::shared_ptr<const Bytes> message, bool text) override;
  size_t queued() const override { return queued_; }
  int64_t waiting_since_ms() const override { return waiting_since_ms_; }
  void close(uint16_t code, std::string reason) override;
  void cut() override;
  // When no thread runs the executor any more: tells the owner that this is the end, which nobody else would.
  void abandon() { ended(); }

 private:
  struct Outgoing {
    std::shared_ptr<const Bytes> bytes;
    bool text;
  };
  void opened(ErrorCode error);
  void read();
  void on_read(ErrorCode error, size_t bytes);
  void write();
  void on_written(ErrorCode error, size_t piece);
  void ended();

  static constexpr size_t kSmall = 64;  // what an idle connection reads into

  const std::unique_ptr<ServerStream> stream_;
  boost::beast::websocket::stream<AnyStream, false> socket_;
  std::shared_ptr<WebSocketOwner> owner_;
  const Reserve reserve_;
  Bytes incoming_;
  size_t received_ = 0;  // of incoming_
  char small_[kSmall];
  std::list<Outgoing> outgoing_;
  size_t written_ = 0;  // of outgoing_.front()
  std::atomic<size_t> queued_ = 0;
  std::atomic<int64_t> waiting_since_ms_ = 0;
  bool open_ = false;
  bool writing_ = false;
  bool closing_ = false;
};

}  // namespace rejoin::net
