#include "net/client_tls.h"

#include <openssl/ssl.h>

#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "net/websocket_client.h"

namespace rejoin::net {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;

// Where distributions keep their authorities, for an OpenSSL that was built elsewhere than it runs.
constexpr const char* kAuthorityFiles[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                           "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

class Stream final : public TlsClientStream {
 public:
  Stream(asio::ip::tcp::socket socket, std::unique_ptr<asio::ssl::context> context, std::string host)
      : context_(std::move(context)), stream_(std::move(socket), *context_), host_(std::move(host)) {}
  asio::ip::tcp::socket& socket() override { return stream_.next_layer(); }
  bool tls() const override { return true; }
  void handshake(Done done) override {
    ErrorCode error;
    if (!expect_host(stream_.native_handle(), host_)) return done(ErrorCode(asio::error::invalid_argument));
    stream_.set_verify_callback(asio::ssl::host_name_verification(host_), error);
    stream_.async_handshake(asio::ssl::stream_base::client, std::move(done));
  }
  void read_some(asio::mutable_buffer buffer, Io done) override { stream_.async_read_some(buffer, std::move(done)); }
  void write_some(const Buffers& buffers, Io done) override { stream_.async_write_some(buffers, std::move(done)); }
  void finish(Done done) override { stream_.async_shutdown(std::move(done)); }
  std::string why(ErrorCode error) override { return why_no_handshake(stream_.native_handle(), error); }

 private:
  const std::unique_ptr<asio::ssl::context> context_;
  asio::ssl::stream<asio::ip::tcp::socket> stream_;
  const std::string host_;
};

}  // namespace

void prepare_tls() { OPENSSL_init_ssl(0, nullptr); }

Status fill_client_context(asio::ssl::context& context, const std::string& ca_file) {
  ErrorCode error;
  context.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                          asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1,
                      error);
  context.set_verify_mode(asio::ssl::verify_peer, error);
  if (!ca_file.empty()) {
    context.load_verify_file(ca_file, error);
    if (error)
      return fail(Code::bad_argument, "the certificate file '" + ca_file + "' cannot be used: " + error.message() +
                                          "; it must hold certificates in PEM form");
    return {};
  }
  context.set_default_verify_paths(error);
  for (const char* file : kAuthorityFiles) {
    ErrorCode ignored;
    context.load_verify_file(file, ignored);
    if (!ignored) break;
  }
  return {};
}

bool expect_host(SSL* connection, const std::string& host) {
  ErrorCode literal;
  asio::ip::make_address(host, literal);
  return !literal || SSL_set_tlsext_host_name(connection, host.c_str());
}

std::string why_no_handshake(SSL* connection, ErrorCode error) {
  const long verdict = SSL_get_verify_result(connection);
  if (verdict != X509_V_OK)
    return std::string("its certificate is not accepted (") + X509_verify_cert_error_string(verdict) +
           "); check the host name and the authorities (ca-certificates, or SSL_CERT_FILE)";
  return error.message() + "; check that the port speaks TLS";
}

Result<std::unique_ptr<TlsClientStream>> make_tls_client_stream(asio::ip::tcp::socket socket, const std::string& host,
                                                                const std::string& ca_file) {
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
  REJOIN_TRY(fill_client_context(*context, ca_file));
  return std::unique_ptr<TlsClientStream>(std::make_unique<Stream>(std::move(socket), std::move(context), host));
}

}  // namespace rejoin::net
