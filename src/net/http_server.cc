#include "net/http_server.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "net/http_session.h"
#include "net/server_tls.h"
#include "net/websocket_session.h"

namespace rejoin::net {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

namespace {

// Above the limit, this many connections more are told so before they are closed.
constexpr size_t kRefusedConnections = 64;
// How long WebSockets have for their goodbye.
constexpr std::chrono::seconds kGoodbye{2};

class Server final : public HttpServer {
 public:
  Server(HttpServerOptions options, HttpHandlers handlers, Log& log)
      : hub_(std::move(options), std::move(handlers), log), context_(static_cast<int>(hub_.options.socket_threads)) {
    hub_.closed = [this](HttpSession* session) {
      std::lock_guard lock(mutex_);
      sessions_.erase(session);
      if (sessions_.empty()) empty_.notify_all();
    };
    hub_.upgraded = [this](const std::shared_ptr<WebSocketSession>& socket) {
      std::lock_guard lock(mutex_);
      // Those that are gone are forgotten when the list would have to grow.
      if (sockets_.size() == sockets_.capacity())
        std::erase_if(sockets_, [](const auto& weak) { return weak.expired(); });
      sockets_.push_back(socket);
    };
  }

  ~Server() override { stop(); }

  Status listen() {
    REJOIN_TRY(reload());
    ErrorCode error;
    const std::string& wanted = hub_.options.address;
    const asio::ip::address address = asio::ip::make_address(wanted == "localhost" ? "127.0.0.1" : wanted, error);
    if (error)
      return fail(Code::bad_argument, "'" + hub_.options.address +
                                          "' is not an IP address to listen on; use 127.0.0.1, ::1, 0.0.0.0 or ::");
    const tcp::endpoint endpoint(address, hub_.options.port);
    const char* step = "open";
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) step = "bind", acceptor_.bind(endpoint, error);
    if (!error) step = "listen", acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error)
      return fail(Code::network, "cannot listen on " + hub_.options.address + " port " +
                                     std::to_string(hub_.options.port) + " (" + step + ": " + error.message() +
                                     "); is another server using the port? Choose another address or port");
    port_ = acceptor_.local_endpoint(error).port();
    accept();
    for (size_t i = 0; i < std::max<size_t>(hub_.options.socket_threads, 1); ++i)
      threads_.emplace_back([this] { run(); });
    return {};
  }

  uint16_t port() const override { return port_; }

  HttpServerGauges gauges() const override {
    std::lock_guard lock(mutex_);
    return {sessions_.size(), hub_.pool.waiting(), hub_.pool.running(), hub_.body_bytes.load(),
            identity_ ? identity_->expires() : 0};
  }

  bool submit(const std::string& lane, std::function<void()> job) override {
    return hub_.pool.submit(lane, std::move(job));
  }

  Status reload() override {
    const HttpServerOptions& options = hub_.options;
    if (options.tls_cert_file.empty() && options.tls_key_file.empty()) return {};
    REJOIN_ASSIGN(std::shared_ptr<const TlsIdentity> identity,
                  TlsIdentity::load(options.tls_cert_file, options.tls_key_file));
    std::lock_guard lock(mutex_);
    identity_ = std::move(identity);
    return {};
  }

  void stop() override {
    std::lock_guard once(stop_mutex_);
    if (stopped_) return;
    stopped_ = true;
    hub_.stopping = true;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(hub_.options.stop_timeout_ms);
    asio::post(strand_, [this] {
      ErrorCode ignored;
      acceptor_.close(ignored);
      pause_.cancel();
    });
    for (auto& session : alive()) session->stop_when_idle();
    for (auto& socket : sockets()) socket->close(kCloseGoingAway, "the server stops; connect again");
    {
      std::unique_lock lock(mutex_);
      empty_.wait_until(lock, deadline, [this] { return sessions_.empty(); });
    }
    for (auto& session : alive()) session->cut();
    const auto until = std::min(deadline, std::chrono::steady_clock::now() + kGoodbye);
    while (!sockets().empty() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    for (auto& socket : sockets()) socket->cut();
    hub_.pool.stop();
    guard_.reset();
    {
      // What is left are handlers of sockets that were cut; they end by themselves.
      std::unique_lock lock(mutex_);
      empty_.wait_for(lock, std::chrono::seconds(2), [this] { return sessions_.empty(); });
    }
    context_.stop();
    for (std::thread& thread : threads_) thread.join();
    // Whose end stood behind something that ran until now.
    for (auto& socket : sockets()) socket->abandon();
  }

 private:
  void run() {
    for (;;) {
      try {
        context_.run();
        return;
      } catch (const std::exception& e) {
        hub_.log.write(LogLevel::error, "socket_handler_threw", {{"what", e.what()}});
      }
    }
  }

  std::vector<std::shared_ptr<HttpSession>> alive() {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<HttpSession>> out;
    for (auto& [key, weak] : sessions_)
      if (auto session = weak.lock()) out.push_back(std::move(session));
    return out;
  }

  std::vector<std::shared_ptr<WebSocketSession>> sockets() {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<WebSocketSession>> out;
    for (auto& weak : sockets_)
      if (auto socket = weak.lock()) out.push_back(std::move(socket));
    return out;
  }

  void accept() {
    acceptor_.async_accept(asio::make_strand(context_),
                           asio::bind_executor(strand_, [this](ErrorCode error, tcp::socket socket) {
                             if (hub_.stopping) return;
                             if (error) return wait_and_accept(error);
                             take(std::move(socket));
                             accept();
                           }));
  }

  void take(tcp::socket socket) {
    std::shared_ptr<HttpSession> session;
    std::shared_ptr<const TlsIdentity> identity;
    size_t count;
    {
      std::lock_guard lock(mutex_);
      count = sessions_.size();
      identity = identity_;
    }
    if (count >= hub_.options.connections + kRefusedConnections) return;
    session = std::make_shared<HttpSession>(
        hub_, identity ? identity->accept(std::move(socket)) : make_plain_stream(std::move(socket)));
    {
      std::lock_guard lock(mutex_);
      sessions_.emplace(session.get(), session);
    }
    session->start(count >= hub_.options.connections);
  }

  // Out of file descriptors, most likely: let some go before trying again.
  void wait_and_accept(ErrorCode error) {
    hub_.log.write(LogLevel::warning, "accept_failed", {{"why", error.message()}});
    pause_.expires_after(std::chrono::milliseconds(100));
    pause_.async_wait(asio::bind_executor(strand_, [this](ErrorCode cancelled) {
      if (!cancelled && !hub_.stopping) accept();
    }));
  }

  mutable std::mutex mutex_;
  std::condition_variable empty_;
  std::unordered_map<HttpSession*, std::weak_ptr<HttpSession>> sessions_;
  std::vector<std::weak_ptr<WebSocketSession>> sockets_;
  std::shared_ptr<const TlsIdentity> identity_;  // under mutex_; null: plain HTTP
  HttpHub hub_;
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_{context_.get_executor()};
  asio::strand<asio::io_context::executor_type> strand_{context_.get_executor()};
  tcp::acceptor acceptor_{context_};
  asio::steady_timer pause_{context_};
  std::vector<std::thread> threads_;
  uint16_t port_ = 0;
  std::mutex stop_mutex_;
  bool stopped_ = false;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options, HttpHandlers handlers, Log& log) {
  auto server = std::make_unique<Server>(std::move(options), std::move(handlers), log);
  REJOIN_TRY(server->listen());
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace rejoin::net
