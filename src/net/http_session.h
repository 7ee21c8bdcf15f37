// One connection of HttpServer. Internal to `net`.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <memory>
#include <optional>

#include "net/http_server.h"
#include "net/server_stream.h"
#include "net/worker_pool.h"

namespace rejoin::net {

// What all sessions of a server share.
struct HttpHub {
  HttpHub(HttpServerOptions o, HttpHandlers h, Log& l)
      : options(std::move(o)),
        handlers(std::move(h)),
        log(l),
        pool(options.workers, options.queue, options.queue_per_lane, options.at_once_per_lane) {}
  const HttpServerOptions options;
  const HttpHandlers handlers;
  Log& log;
  WorkerPool pool;
  std::atomic<bool> stopping = false;
  std::atomic<uint64_t> body_bytes = 0;
  std::function<void(class HttpSession*)> closed;  // a session is gone
  std::function<void(const std::shared_ptr<class WebSocketSession>&)> upgraded;
};

// Lives as long as an operation of its own is under way. Everything but the constructor runs on the socket's strand.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(HttpHub& hub, std::unique_ptr<ServerStream> stream);
  ~HttpSession();

  // `refused`: a connection above the limit, which is told so and closed.
  void start(bool refused);
  // Thread-safe. Closes at once if no request is under way; otherwise after its answer.
  void stop_when_idle();
  // Thread-safe. Cuts whatever is under way.
  void cut();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using Message = boost::beast::http::response<boost::beast::http::string_body>;
  using Serializer = boost::beast::http::response_serializer<boost::beast::http::string_body>;
  using ErrorCode = boost::system::error_code;

  void on_handshake(ErrorCode error, bool refused);
  void refuse_connection();
  void wait_for_request();
  void read_head();
  void on_head(ErrorCode error);
  void read_body();
  void on_body(ErrorCode error);
  void upgrade();
  bool crowded() const;
  bool reserve(uint64_t total);
  void release();
  void dispatch();
  void run_job();
  Bytes take_body();
  HttpResponse refuse(const Error& error, int64_t retry_after_ms = 0) const;
  HttpResponse too_slow(const char* what) const;
  void respond(HttpResponse response, bool keep);
  void write();
  void after_write();
  void say_goodbye();
  void linger();
  void close();
  void expire_after(std::chrono::milliseconds time);
  std::chrono::milliseconds left(int64_t at_most_ms) const;

  HttpHub& hub_;
  std::unique_ptr<ServerStream> stream_;  // null once a WebSocketSession has it
  AnyStream any_{*stream_};
  boost::asio::ip::tcp::socket& socket_ = stream_->socket();
  boost::asio::steady_timer timer_;
  bool timed_out_ = false;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  HttpRequest request_;
  std::chrono::steady_clock::time_point submitted_;
  uint64_t reserved_ = 0;
  bool idle_ = true;
  bool body_unread_ = false;
  bool keep_ = false;
  HttpResponse response_;
  std::optional<Message> message_;
  std::optional<Serializer> serializer_;
  uint64_t sent_ = 0;
  uint64_t discarded_ = 0;
};

}  // namespace rejoin::net
