#include "net/http_session.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <string_view>
#include <utility>

#include "net/compress.h"
#include "net/websocket_session.h"

namespace rejoin::net {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

constexpr size_t kWorthCompressing = 512;
constexpr uint64_t kMostDiscarded = 256ull << 20;
constexpr milliseconds kLinger{5'000};
constexpr std::string_view kSpeakTls =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 47\r\nConnection: close\r\n\r\n"
    "this port speaks TLS; use https:// in the URL\r\n";
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

// Does an Accept-Encoding header allow zstd? (RFC 9110 section 12.5.3; a weight of zero forbids it.)
bool accepts_zstd(std::string_view header) {
  const std::string text = lower(header);
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    std::string_view item = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    if (!item.starts_with("zstd")) continue;
    item.remove_prefix(4);
    if (!item.empty() && item.front() != ';' && item.front() != ' ') continue;
    const size_t q = item.find("q=");
    return q == std::string_view::npos || item.substr(q + 2).find_first_of("123456789") != std::string_view::npos;
  }
  return false;
}

// The peer's bytes break HTTP's rules; other errors say that it went away.
bool malformed(boost::system::error_code error) {
  return error.category() == make_error_code(http::error::bad_method).category() &&
         error != http::error::end_of_stream && error != http::error::partial_message;
}

}  // namespace

HttpSession::HttpSession(HttpHub& hub, std::unique_ptr<ServerStream> stream)
    : hub_(hub), stream_(std::move(stream)), timer_(socket_.get_executor()) {}

HttpSession::~HttpSession() {
  release();
  hub_.closed(this);
}

void HttpSession::start(bool refused) {
  asio::dispatch(socket_.get_executor(), [self = shared_from_this(), refused] {
    ErrorCode ignored;
    self->socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
    self->expire_after(milliseconds(self->hub_.options.head_timeout_ms));
    self->stream_->handshake([self, refused](ErrorCode error) { self->on_handshake(error, refused); });
  });
}

void HttpSession::on_handshake(ErrorCode error, bool refused) {
  if (stream_->tls() && hub_.handlers.handshake)
    hub_.handlers.handshake(!error ? "done" : is_plain_http(error) ? "plain_http" : timed_out_ ? "timeout" : "failed");
  if (!error) return refused ? refuse_connection() : wait_for_request();
  if (!is_plain_http(error)) return close();
  expire_after(kLinger);
  asio::async_write(socket_, asio::buffer(kSpeakTls), [self = shared_from_this()](ErrorCode failed, size_t) {
    ErrorCode ignored;
    self->socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    if (failed) return self->close();
    self->linger();
  });
}

void HttpSession::refuse_connection() {
  idle_ = false;
  body_unread_ = true;
  request_.arrived = Clock::now();
  respond(refuse(fail(Code::overloaded, "the server has as many connections as it allows (" +
                                            std::to_string(hub_.options.connections) + "); try again shortly"),
                 1000),
          false);
}

void HttpSession::stop_when_idle() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->idle_) self->close();
  });
}

void HttpSession::cut() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->close(); });
}

void HttpSession::close() {
  ErrorCode ignored;
  timer_.cancel();
  socket_.close(ignored);
}

// Gives the operation that is started next so long, then cancels it; unlike a tcp_stream's timeout this leaves the
// socket open, so that the peer can be told.
void HttpSession::expire_after(milliseconds time) {
  timed_out_ = false;
  timer_.expires_after(time);
  timer_.async_wait([weak = weak_from_this()](ErrorCode cancelled) {
    auto self = weak.lock();
    if (cancelled || !self || Clock::now() < self->timer_.expiry()) return;
    self->timed_out_ = true;
    ErrorCode ignored;
    self->socket_.cancel(ignored);
  });
}

milliseconds HttpSession::left(int64_t at_most_ms) const {
  const auto until_deadline = std::chrono::duration_cast<milliseconds>(request_.deadline - Clock::now());
  return std::clamp(until_deadline, milliseconds(1), milliseconds(at_most_ms));
}

// ---- reading
// ---------------------------------------------------------------------------------------------------------------------

void HttpSession::wait_for_request() {
  release();
  idle_ = true;
  if (hub_.stopping) return close();
  request_ = HttpRequest{};
  parser_.emplace();
  parser_->header_limit(hub_.options.max_head);
  parser_->body_limit(boost::none);  // checked in on_head, where there is a head to answer to
  if (buffer_.size() != 0) return read_head();
  expire_after(milliseconds(hub_.options.idle_timeout_ms));
  stream_->read_some(buffer_.prepare(4096), [self = shared_from_this()](ErrorCode error, size_t bytes) {
    if (error) return self->close();
    self->buffer_.commit(bytes);
    self->read_head();
  });
}

void HttpSession::read_head() {
  idle_ = false;
  request_.arrived = Clock::now();
  request_.deadline = request_.arrived + milliseconds(hub_.options.request_timeout_ms);
  expire_after(left(hub_.options.head_timeout_ms));
  http::async_read_header(any_, buffer_, *parser_,
                          [self = shared_from_this()](ErrorCode error, size_t) { self->on_head(error); });
}

void HttpSession::on_head(ErrorCode error) {
  ErrorCode ignored;
  const auto endpoint = socket_.remote_endpoint(ignored);
  const auto identify = [&] {
    Origin origin =
        origin_of(endpoint.address().to_string(), stream_->tls(), request_.headers, hub_.options.trusted_proxies);
    request_.remote = std::move(origin.address);
    request_.loopback = origin.loopback;
    request_.https = origin.https;
  };
  if (error) {
    identify();
    body_unread_ = true;
    if (error == http::error::header_limit) {
      HttpResponse refusal =
          refuse(fail(Code::too_large, "the request's head has more than " + std::to_string(hub_.options.max_head) +
                                           " bytes, which is the limit"));
      refusal.status = 431;
      return respond(std::move(refusal), false);
    }
    if (timed_out_) return respond(too_slow("the request's head did not arrive within the time allowed"), false);
    if (malformed(error))
      return respond(
          refuse(fail(Code::bad_argument, "the request is not HTTP/1.1 as this server reads it: " + error.message())),
          false);
    return close();
  }

  const auto& head = parser_->get();
  request_.method = std::string(head.method_string());
  request_.path = std::string(head.target().substr(0, head.target().find('?')));
  for (const auto& field : head) request_.headers.emplace_back(lower(field.name_string()), std::string(field.value()));
  identify();
  body_unread_ = !parser_->is_done();

  std::optional<HttpResponse> answer = hub_.handlers.admit(request_);
  if (answer) return respond(std::move(*answer), !body_unread_ && head.keep_alive());
  if (request_.upgrade) return upgrade();
  if (!request_.lane.empty() && crowded())
    return respond(
        refuse(fail(Code::overloaded, "the server has more requests than it can work on; try again shortly"), 1000),
        !body_unread_ && head.keep_alive());
  const auto length = parser_->content_length();
  if (length && *length > hub_.options.max_body)
    return respond(
        refuse(fail(Code::too_large, "the body has " + std::to_string(*length) + " bytes; this server accepts " +
                                         std::to_string(hub_.options.max_body))),
        false);
  if (length && !reserve(*length))
    return respond(refuse(fail(Code::overloaded, "the server is receiving too much at once; try again shortly"), 1000),
                   false);
  if (!body_unread_) return dispatch();

  parser_->body_limit(hub_.options.max_body);
  if (lower(request_.header("expect")) == "100-continue") {
    expire_after(left(hub_.options.stall_timeout_ms));
    asio::async_write(any_, asio::buffer(kContinue), [self = shared_from_this()](ErrorCode failed, size_t) {
      if (failed) return self->close();
      self->read_body();
    });
    return;
  }
  read_body();
}

// The connection goes on as a WebSocket, and this session ends.
void HttpSession::upgrade() {
  namespace websocket = boost::beast::websocket;
  if (!websocket::is_upgrade(parser_->get()) || body_unread_ || buffer_.size() != 0) {
    HttpResponse refusal = refuse(fail(
        Code::bad_argument, "this is a WebSocket; connect to it with a WebSocket client (RFC 6455, HTTP/1.1 upgrade)"));
    refusal.status = 426;
    request_.upgrade.reset();
    refusal.headers.emplace_back("Upgrade", "websocket");
    return respond(std::move(refusal), false);
  }
  timer_.cancel();
  WebSocketOptions options;
  options.max_message = hub_.options.max_body;
  options.heartbeat_ms = hub_.options.heartbeat_ms;
  // Messages under way count as bodies do.
  auto kept = std::shared_ptr<uint64_t>(new uint64_t(0), [&hub = hub_](const uint64_t* bytes) {
    hub.body_bytes.fetch_sub(*bytes);
    delete bytes;
  });
  auto reserve = [&hub = hub_, kept](uint64_t total) {
    if (total > *kept && hub.body_bytes + (total - *kept) > hub.options.body_budget) return false;
    hub.body_bytes.fetch_add(total - *kept);
    *kept = total;
    return true;
  };
  auto socket = std::make_shared<WebSocketSession>(std::move(stream_), std::move(request_.upgrade), options, reserve);
  hub_.upgraded(socket);
  WebSocketSession::Fields fields{{"Server", "rejoin"}};
  for (auto& [name, value] : request_.upgrade_headers) fields.emplace_back(name, value);
  socket->accept(parser_->release(), std::move(fields));
  hub_.handlers.done(request_, HttpResponse{101, {}, {}, {}}, 0);
}

void HttpSession::read_body() {
  expire_after(left(hub_.options.stall_timeout_ms));
  http::async_read_some(any_, buffer_, *parser_,
                        [self = shared_from_this()](ErrorCode error, size_t) { self->on_body(error); });
}

void HttpSession::on_body(ErrorCode error) {
  if (error == http::error::body_limit)
    return respond(refuse(fail(Code::too_large, "the body has more than " + std::to_string(hub_.options.max_body) +
                                                    " bytes, which is this server's limit")),
                   false);
  if (timed_out_) return respond(too_slow("the request's body did not arrive within the time allowed"), false);
  if (malformed(error))
    return respond(
        refuse(fail(Code::bad_argument, "the request's body is not framed as HTTP/1.1 has it: " + error.message())),
        false);
  if (error) return close();
  if (!reserve(parser_->get().body().size()))
    return respond(refuse(fail(Code::overloaded, "the server is receiving too much at once; try again shortly"), 1000),
                   false);
  if (!parser_->is_done()) return read_body();
  body_unread_ = false;
  dispatch();
}

// Would a body only be read to be refused, or to wait for longer than is of use?
bool HttpSession::crowded() const {
  return hub_.pool.full(request_.lane) || hub_.pool.longest_wait() >= milliseconds(hub_.options.queue_wait_ms);
}

// Takes part of the budget for bodies; false when it is used up.
bool HttpSession::reserve(uint64_t total) {
  if (total <= reserved_) return true;
  const uint64_t more = total - reserved_;
  if (hub_.body_bytes.fetch_add(more) + more > hub_.options.body_budget) {
    hub_.body_bytes.fetch_sub(more);
    return false;
  }
  reserved_ = total;
  return true;
}

void HttpSession::release() {
  hub_.body_bytes.fetch_sub(reserved_);
  reserved_ = 0;
}

// ---- work
// ------------------------------------------------------------------------------------------------------------------------

void HttpSession::dispatch() {
  timer_.cancel();
  keep_ = parser_->get().keep_alive();
  request_.body = std::move(parser_->get().body());
  request_.wire_bytes = request_.body.size();
  submitted_ = Clock::now();
  if (!hub_.pool.submit(request_.lane, [self = shared_from_this()] { self->run_job(); }))
    respond(refuse(fail(Code::overloaded, "the server has more requests than it can work on; try again shortly"), 1000),
            keep_);
}

// On a pool thread. Nothing else touches the session meanwhile, but for close().
void HttpSession::run_job() {
  HttpResponse answer;
  request_.queued_seconds = std::chrono::duration<double>(Clock::now() - submitted_).count();
  try {
    const std::string_view encoding = request_.header("content-encoding");
    Status readable;
    if (Clock::now() >= request_.deadline) {
      readable = fail(Code::timeout, "the request waited too long for its turn; try again");
    } else if (lower(encoding) == "zstd") {
      Result<Bytes> body = zstd_decompress(request_.body, hub_.options.max_body);
      if (body.ok())
        request_.body = std::move(*body);
      else
        readable = std::move(body).error();
    } else if (!encoding.empty() && lower(encoding) != "identity") {
      readable = fail(Code::media_type, "the content encoding '" + std::string(encoding.substr(0, 40)) +
                                            "' is not read here; use zstd or none");
    }
    answer = readable.ok() ? hub_.handlers.handle(request_) : refuse(readable.error());
  } catch (const std::bad_alloc&) {
    answer = refuse(fail(Code::overloaded, "the server is short of memory; try again"), 1000);
  } catch (const std::exception& e) {
    hub_.log.write(LogLevel::error, "handler_threw", {{"what", e.what()}, {"path", request_.path}});
    answer = refuse(fail(Code::internal, "the server failed on this request; its log says more"));
  }
  request_.body = Bytes();
  if (answer.body.size() >= kWorthCompressing) {
    answer.headers.emplace_back("Vary", "Accept-Encoding");
    if (accepts_zstd(request_.header("accept-encoding"))) {
      Bytes packed = zstd_compress(answer.body);
      if (!packed.empty() && packed.size() < answer.body.size()) {
        answer.body = std::move(packed);
        answer.headers.emplace_back("Content-Encoding", "zstd");
      }
    }
  }
  asio::post(socket_.get_executor(), [self = shared_from_this(), answer = std::move(answer)]() mutable {
    self->respond(std::move(answer), self->keep_);
  });
}

HttpResponse HttpSession::refuse(const Error& error, int64_t retry_after_ms) const {
  return hub_.handlers.refuse(request_, error, retry_after_ms);
}

// A peer that did not send in time; the error's own status says that we were slow.
HttpResponse HttpSession::too_slow(const char* what) const {
  HttpResponse refusal = refuse(fail(Code::timeout, what));
  refusal.status = 408;
  return refusal;
}

// ---- writing
// ---------------------------------------------------------------------------------------------------------------------

void HttpSession::respond(HttpResponse response, bool keep) {
  release();
  // A peer that reads a byte now and then must not keep the answer in memory for ever.
  request_.deadline = Clock::now() + milliseconds(hub_.options.request_timeout_ms);
  keep_ = keep && !hub_.stopping;
  response_ = std::move(response);
  message_.emplace();
  message_->version(11);
  message_->result(static_cast<unsigned>(response_.status));
  message_->set(http::field::server, "rejoin");
  if (!response_.content_type.empty()) message_->set(http::field::content_type, response_.content_type);
  for (const auto& [name, value] : response_.headers) message_->insert(name, value);
  message_->keep_alive(keep_);
  sent_ = response_.body.size();
  if (request_.method == "HEAD") {
    message_->content_length(sent_);
    sent_ = 0;
  } else {
    message_->body() = std::move(response_.body);
    message_->prepare_payload();
  }
  serializer_.emplace(*message_);
  write();
}

void HttpSession::write() {
  expire_after(left(hub_.options.stall_timeout_ms));
  http::async_write_some(any_, *serializer_, [self = shared_from_this()](ErrorCode error, size_t) {
    if (error) {
      self->response_.status = 499;  // the peer went away; nginx's number for it
      self->after_write();
      return self->close();
    }
    if (!self->serializer_->is_done()) return self->write();
    self->after_write();
    if (self->keep_ && !self->hub_.stopping) return self->wait_for_request();
    self->say_goodbye();
  });
}

void HttpSession::say_goodbye() {
  expire_after(kLinger);
  stream_->finish([self = shared_from_this()](ErrorCode) {
    if (!self->body_unread_) return self->close();
    self->buffer_.clear();
    self->expire_after(kLinger);
    self->linger();
  });
}

void HttpSession::after_write() {
  hub_.handlers.done(request_, response_, sent_);
  serializer_.reset();
  message_.reset();
  response_ = HttpResponse{};
}

// Reads on for a while, so that the peer sees our answer and not a reset.
void HttpSession::linger() {
  socket_.async_read_some(buffer_.prepare(64 << 10), [self = shared_from_this()](ErrorCode error, size_t bytes) {
    self->discarded_ += bytes;
    if (error || self->discarded_ > kMostDiscarded || self->hub_.stopping) return self->close();
    self->linger();
  });
}

}  // namespace rejoin::net
