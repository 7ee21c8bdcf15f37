// https:// connections: TLS 1.2 and later, the system's certificate authorities, host names verified.
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "net/http_exchange.h"

namespace rejoin::net {
namespace {

// Where distributions keep their authorities, for an OpenSSL that was built elsewhere than it runs.
constexpr const char* kAuthorityFiles[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                           "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

struct Tls {
  using Stream = asio::ssl::stream<beast::tcp_stream>;

  Status prepare(const Url& url, const HttpClientOptions& options) {
    host_ = url.host;
    if (ready_) return {};
    ErrorCode error;
    context_.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                             asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                             asio::ssl::context::no_tlsv1_1,
                         error);
    context_.set_verify_mode(asio::ssl::verify_peer, error);
    if (!options.ca_file.empty()) {
      context_.load_verify_file(options.ca_file, error);
      if (error)
        return fail(Code::bad_argument, "the certificate file '" + options.ca_file + "' cannot be used: " +
                                            error.message() + "; it must hold certificates in PEM form");
    } else {
      context_.set_default_verify_paths(error);
      for (const char* file : kAuthorityFiles) {
        ErrorCode ignored;
        context_.load_verify_file(file, ignored);
        if (!ignored) break;
      }
    }
    ready_ = true;
    return {};
  }

  Stream make(asio::io_context& io) { return Stream(io, context_); }
  static beast::tcp_stream& lowest(Stream& stream) { return stream.next_layer(); }

  template <class Handler>
  void handshake(Stream& stream, Handler&& handler) {
    ErrorCode literal, error;
    asio::ip::make_address(host_, literal);
    if (literal && !SSL_set_tlsext_host_name(stream.native_handle(), host_.c_str()))
      return handler(ErrorCode(asio::error::invalid_argument));
    stream.set_verify_callback(asio::ssl::host_name_verification(host_), error);
    stream.async_handshake(asio::ssl::stream_base::client, std::forward<Handler>(handler));
  }

  std::string why(Stream& stream, ErrorCode error) {
    const long verdict = SSL_get_verify_result(stream.native_handle());
    if (verdict != X509_V_OK)
      return std::string("its certificate is not accepted (") + X509_verify_cert_error_string(verdict) +
             "); check the host name and the authorities (ca-certificates, or SSL_CERT_FILE)";
    return error.message() + "; check that the port speaks TLS";
  }

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
