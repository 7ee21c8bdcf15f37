// https:// connections.
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "net/client_tls.h"
#include "net/http_exchange.h"

namespace rejoin::net {
namespace {

struct Tls {
  using Stream = asio::ssl::stream<beast::tcp_stream>;

  Status prepare(const Url& url, const HttpClientOptions& options) {
    host_ = url.host;
    if (ready_) return {};
    REJOIN_TRY(fill_client_context(context_, options.ca_file));
    ready_ = true;
    return {};
  }

  Stream make(asio::io_context& io) { return Stream(io, context_); }
  static beast::tcp_stream& lowest(Stream& stream) { return stream.next_layer(); }

  template <class Handler>
  void handshake(Stream& stream, Handler&& handler) {
    ErrorCode error;
    if (!expect_host(stream.native_handle(), host_)) return handler(ErrorCode(asio::error::invalid_argument));
    stream.set_verify_callback(asio::ssl::host_name_verification(host_), error);
    stream.async_handshake(asio::ssl::stream_base::client, std::forward<Handler>(handler));
  }

  std::string why(Stream& stream, ErrorCode error) { return why_no_handshake(stream.native_handle(), error); }

 private:
  asio::ssl::context context_{asio::ssl::context::tls_client};
  std::string host_;
  bool ready_ = false;
};

}  // namespace

std::unique_ptr<HttpConnection> make_tls_connection(const Url& url, const HttpClientOptions& options) {
  return std::make_unique<Connection<Tls>>(url, options);
}

}  // namespace rejoin::net
