#include "net/websocket_session.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/http/field.hpp>
#include <chrono>

namespace rejoin::net {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
using std::chrono::milliseconds;

namespace {

// A message goes out in pieces of this size, each a frame, so that a peer that reads slowly can be told from one that
// does not read.
constexpr size_t kPiece = 64 << 10;
constexpr size_t kGrowth = 16 << 10;
// Bytes that the kernel takes beyond what is on the wire. Left to itself it takes megabytes for each peer that does not
// read, and takes no more until a third of them is gone: then one that reads slowly looks like one that does not read.
constexpr int kMostUnsent = 128 << 10;
// A message below it needs no leave to be kept.
constexpr size_t kFree = 4 << 10;

int64_t steady_ms() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

// What Beast wants to know of a stream that is not one of Asio's.
template <class Handler>
void async_teardown(beast::role_type, AnyStream& stream, Handler&& handler) {
  auto shared = std::make_shared<std::decay_t<Handler>>(std::forward<Handler>(handler));
  // Both sides have said goodbye: there is nothing to wait for, least of all TLS's own.
  asio::post(stream.get_executor(), [&stream, shared] {
    stream.close();
    (*shared)(boost::system::error_code());
  });
}
inline void teardown(beast::role_type, AnyStream& stream, boost::system::error_code&) { stream.close(); }
inline void beast_close_socket(AnyStream& stream) { stream.close(); }

WebSocketSession::WebSocketSession(std::unique_ptr<ServerStream> stream, std::shared_ptr<WebSocketOwner> owner,
                                   const WebSocketOptions& options, Reserve reserve)
    : stream_(std::move(stream)), socket_(*stream_), owner_(std::move(owner)), reserve_(std::move(reserve)) {
  websocket::stream_base::timeout timeout{};
  timeout.handshake_timeout = milliseconds(options.close_ms);
  timeout.idle_timeout = milliseconds(2 * options.heartbeat_ms);
  timeout.keep_alive_pings = true;
  socket_.set_option(timeout);
  socket_.read_message_max(static_cast<size_t>(options.max_message));
  socket_.auto_fragment(false);
}

WebSocketSession::~WebSocketSession() { ended(); }

void WebSocketSession::accept(const Request& request, Fields fields) {
  // Where it can't be had, the kernel's own bound holds.
  (void)::setsockopt(stream_->socket().native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kMostUnsent,
                     sizeof kMostUnsent);
  socket_.set_option(websocket::stream_base::decorator([fields = std::move(fields)](websocket::response_type& answer) {
    for (const auto& [name, value] : fields) answer.set(name, value);
  }));
  socket_.async_accept(request, [self = shared_from_this()](ErrorCode error) { self->opened(error); });
}

void WebSocketSession::connect(const std::string& host, const std::string& target, Fields fields,
                               std::function<void(ErrorCode, const websocket::response_type&)> done) {
  socket_.set_option(websocket::stream_base::decorator([fields = std::move(fields)](websocket::request_type& request) {
    for (const auto& [name, value] : fields) request.set(name, value);
  }));
  auto answer = std::make_shared<websocket::response_type>();
  socket_.async_handshake(*answer, host, target,
                          [self = shared_from_this(), answer, done = std::move(done)](ErrorCode error) {
                            done(error, *answer);
                            self->opened(error);
                          });
}

void WebSocketSession::opened(ErrorCode error) {
  // The decorator's fields have done their work.
  socket_.set_option(websocket::stream_base::decorator([](websocket::response_type&) {}));
  if (error) return ended();
  open_ = true;
  owner_->on_open(shared_from_this());
  read();
}

void WebSocketSession::read() {
  asio::mutable_buffer into(small_, kSmall);
  if (received_ > 0) {
    // It doubles, so that what is kept is at most twice what has come.
    if (incoming_.size() - received_ < kGrowth) incoming_.resize(std::max(received_ * 2, received_ + kGrowth));
    into = asio::buffer(incoming_.data() + received_, incoming_.size() - received_);
  }
  socket_.async_read_some(into,
                          [self = shared_from_this()](ErrorCode error, size_t bytes) { self->on_read(error, bytes); });
}

void WebSocketSession::on_read(ErrorCode error, size_t bytes) {
  if (error || !owner_) return ended();
  if (received_ == 0) incoming_.assign(small_, bytes);
  received_ += bytes;
  if (!socket_.is_message_done()) {
    if (reserve_ && received_ > kFree && !reserve_(received_)) {
      close(kCloseTryAgain, "the server is receiving too much at once");
      incoming_ = Bytes();
      received_ = 0;
      return read();
    }
    return read();
  }
  incoming_.resize(received_);
  Bytes message = std::exchange(incoming_, Bytes());
  received_ = 0;
  try {
    if (!closing_) owner_->on_message(std::move(message), socket_.got_text());
  } catch (...) {
    // Reading goes on, so that the connection ends as any other does; whoever runs the executor tells of it.
    close(kCloseInternal, "the server failed on this message; connect again");
    if (reserve_) reserve_(0);
    read();
    throw;
  }
  if (reserve_) reserve_(0);
  read();
}

void WebSocketSession::send(std::shared_ptr<const Bytes> message, bool text) {
  queued_ += message->size();
  asio::post(socket_.get_executor(), [self = shared_from_this(), message = std::move(message), text]() mutable {
    if (!self->open_ || self->closing_) {
      self->queued_ -= message->size();
      return;
    }
    self->outgoing_.push_back({std::move(message), text});
    if (!self->writing_) self->write();
  });
}

void WebSocketSession::write() {
  if (outgoing_.empty() || closing_) {
    writing_ = false;
    waiting_since_ms_ = 0;
    if (owner_ && !closing_) owner_->on_drained();
    return;
  }
  writing_ = true;
  waiting_since_ms_ = steady_ms();
  const Outgoing& next = outgoing_.front();
  const size_t piece = std::min(kPiece, next.bytes->size() - written_);
  if (written_ == 0) socket_.text(next.text);
  socket_.async_write_some(
      written_ + piece == next.bytes->size(), asio::buffer(next.bytes->data() + written_, piece),
      [self = shared_from_this(), piece](ErrorCode error, size_t) { self->on_written(error, piece); });
}

void WebSocketSession::on_written(ErrorCode error, size_t piece) {
  if (error || !owner_) return ended();
  written_ += piece;
  if (written_ == outgoing_.front().bytes->size()) {
    queued_ -= written_;
    written_ = 0;
    outgoing_.pop_front();
  }
  write();
}

void WebSocketSession::close(uint16_t code, std::string reason) {
  asio::post(socket_.get_executor(), [self = shared_from_this(), code, reason = std::move(reason)] {
    if (!self->open_ || std::exchange(self->closing_, true)) return;
    self->socket_.async_close(websocket::close_reason(static_cast<websocket::close_code>(code), reason),
                              [self](ErrorCode) { self->ended(); });
  });
}

void WebSocketSession::cut() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    ErrorCode ignored;
    self->stream_->socket().close(ignored);
    self->ended();
  });
}

// What is under way ends with errors, and then this object.
void WebSocketSession::ended() {
  if (!owner_) return;
  std::shared_ptr<WebSocketOwner> owner = std::move(owner_);
  owner_ = nullptr;
  open_ = false;
  ErrorCode ignored;
  stream_->socket().close(ignored);
  if (!writing_) outgoing_.clear();
  if (reserve_) reserve_(0);
  const websocket::close_reason& reason = socket_.reason();
  owner->on_closed(reason.code == websocket::close_code::none ? kCloseAbnormal : static_cast<uint16_t>(reason.code),
                   std::string(reason.reason.data(), reason.reason.size()));
}

}  // namespace rejoin::net
