// http:// connections.
#include "net/http_exchange.h"

namespace rejoin::net {
namespace {

struct Plain {
  using Stream = beast::tcp_stream;
  Status prepare(const Url&, const HttpClientOptions&) { return {}; }
  Stream make(asio::io_context& context) { return Stream(context); }
  static beast::tcp_stream& lowest(Stream& stream) { return stream; }
  template <class Handler>
  void handshake(Stream&, Handler&& handler) {
    handler(ErrorCode());
  }
  std::string why(Stream&, ErrorCode error) { return error.message(); }
};

}  // namespace

std::unique_ptr<HttpConnection> make_plain_connection(const Url& url, const HttpClientOptions& options) {
  return std::make_unique<Connection<Plain>>(url, options);
}

}  // namespace rejoin::net
