// One end of one connection, plain or TLS, behind an interface without templates, so that sessions are compiled once
// and TLS in few files (server_tls.cc; websocket_tls.cc for a client's). Internal to `net`.
#pragma once

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <utility>

namespace rejoin::net {

// Each operation runs on the socket's executor, at most one read and one write at a time. The stream outlives its
// operations; whoever starts one holds it.
class ServerStream {
 public:
  using ErrorCode = boost::system::error_code;
  using Io = std::function<void(ErrorCode, size_t)>;
  using Done = std::function<void(ErrorCode)>;
  // A few buffers that are written together; what does not fit waits for the next call.
  struct Buffers {
    std::array<boost::asio::const_buffer, 8> list;
    size_t count = 0;
    auto begin() const { return list.begin(); }
    auto end() const { return list.begin() + static_cast<std::ptrdiff_t>(count); }
  };

  virtual ~ServerStream() = default;
  // For addresses and for cancel() and close(), which end what is under way.
  virtual boost::asio::ip::tcp::socket& socket() = 0;
  virtual bool tls() const = 0;
  // Before anything is read or written.
  virtual void handshake(Done done) = 0;
  virtual void read_some(boost::asio::mutable_buffer buffer, Io done) = 0;
  virtual void write_some(const Buffers& buffers, Io done) = 0;
  // Says that nothing more comes. After it, only the socket may be read, and what comes is thrown away.
  virtual void finish(Done done) = 0;
};

// Did the peer of this handshake speak plain HTTP?
bool is_plain_http(boost::system::error_code handshake_error);

std::unique_ptr<ServerStream> make_plain_stream(boost::asio::ip::tcp::socket socket);

// A ServerStream as Asio's and Beast's algorithms want one.
class AnyStream {
 public:
  using executor_type = boost::asio::ip::tcp::socket::executor_type;
  explicit AnyStream(ServerStream& stream) : stream_(stream) {}
  executor_type get_executor() { return stream_.socket().get_executor(); }
  void close() {
    boost::system::error_code ignored;
    stream_.socket().close(ignored);
  }

  template <class Sequence, class Handler>
  void async_read_some(const Sequence& buffers, Handler&& handler) {
    boost::asio::mutable_buffer first;
    const auto end = boost::asio::buffer_sequence_end(buffers);
    for (auto it = boost::asio::buffer_sequence_begin(buffers); it != end && first.size() == 0; ++it)
      first = boost::asio::mutable_buffer(*it);
    stream_.read_some(first, held(std::forward<Handler>(handler)));
  }
  template <class Sequence, class Handler>
  void async_write_some(const Sequence& buffers, Handler&& handler) {
    ServerStream::Buffers some;
    const auto end = boost::asio::buffer_sequence_end(buffers);
    for (auto it = boost::asio::buffer_sequence_begin(buffers); it != end && some.count < some.list.size(); ++it)
      if (const boost::asio::const_buffer buffer(*it); buffer.size() != 0) some.list[some.count++] = buffer;
    stream_.write_some(some, held(std::forward<Handler>(handler)));
  }

 private:
  // Handlers can only be moved, and std::function wants to copy.
  template <class Handler>
  static ServerStream::Io held(Handler&& handler) {
    auto shared = std::make_shared<std::decay_t<Handler>>(std::forward<Handler>(handler));
    return [shared](boost::system::error_code error, size_t bytes) { (*shared)(error, bytes); };
  }

  ServerStream& stream_;
};

}  // namespace rejoin::net
