#include "net/server_tls.h"

#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace rejoin::net {
namespace {

namespace ssl = boost::asio::ssl;
using ErrorCode = boost::system::error_code;
using tcp = boost::asio::ip::tcp;

constexpr size_t kMostBytes = 1 << 20;

// `secret`: refused when people who are neither its owner nor in its group can get at it, or the group can change it.
Result<std::string> read_pem(const std::string& path, const char* what, bool secret) {
  const std::string name = std::string("the ") + what + " '" + path + "'";
  const auto failed = [&](int error) {
    const Code code = error == ENOENT || error == ENOTDIR ? Code::not_found
                      : error == EACCES || error == EPERM ? Code::forbidden
                                                          : Code::disk;
    return fail(code, "cannot read " + name + ": " + std::strerror(error) + "; check the path and its permissions");
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) return failed(errno);
  struct stat info {};
  if (::fstat(::fileno(file.get()), &info) != 0) return failed(errno);
  if (S_ISDIR(info.st_mode)) return fail(Code::bad_argument, name + " is a folder; give a file in PEM form");
  if (secret && (info.st_mode & 027) != 0)
    return fail(Code::forbidden, name + " can be read or changed by other users, so it is no secret; run: chmod 600 '" +
                                     path + "' (and get a new key if others have used this machine)");
  std::string text(kMostBytes + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get())) return failed(errno);
  if (text.size() > kMostBytes)
    return fail(Code::bad_argument,
                name + " has more than " + std::to_string(kMostBytes) + " bytes; is it in PEM form?");
  return text;
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned in_size,
                    void*) {
  static constexpr unsigned char kHttp11[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, size, kHttp11, sizeof kHttp11 - 1, in, in_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

class TlsStream final : public ServerStream {
 public:
  TlsStream(tcp::socket socket, ssl::context& context) : stream_(std::move(socket), context) {}
  tcp::socket& socket() override { return stream_.next_layer(); }
  bool tls() const override { return true; }
  void handshake(Done done) override { stream_.async_handshake(ssl::stream_base::server, std::move(done)); }
  void read_some(boost::asio::mutable_buffer buffer, Io done) override {
    stream_.async_read_some(buffer, std::move(done));
  }
  void write_some(const Buffers& buffers, Io done) override { stream_.async_write_some(buffers, std::move(done)); }
  // Our close_notify goes out; then it waits for the peer's, or for anything else that comes, or for cancel().
  void finish(Done done) override {
    stream_.async_shutdown([this, done = std::move(done)](ErrorCode error) {
      ErrorCode ignored;
      socket().shutdown(tcp::socket::shutdown_send, ignored);
      done(error);
    });
  }

 private:
  ssl::stream<tcp::socket> stream_;
};

class Identity final : public TlsIdentity {
 public:
  int64_t expires() const override { return expires_; }
  std::unique_ptr<ServerStream> accept(tcp::socket socket) const override {
    return std::make_unique<TlsStream>(std::move(socket), context_);
  }

  Status fill(const std::string& cert_file, const std::string& key_file) {
    REJOIN_ASSIGN(const std::string cert, read_pem(cert_file, "certificate file", false));
    REJOIN_ASSIGN(const std::string key, read_pem(key_file, "key file", true));
    ErrorCode error;
    context_.set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                             ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 | ssl::context::single_dh_use,
                         error);
    SSL_CTX* native = context_.native_handle();
    SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);  // idle connections are many
    SSL_CTX_set_alpn_select_cb(native, choose_protocol, nullptr);
    // Without a callback OpenSSL asks on the terminal.
    context_.set_password_callback([](size_t, ssl::context::password_purpose) { return std::string(); }, error);
    context_.use_certificate_chain(boost::asio::buffer(cert), error);
    if (error)
      return fail(Code::bad_argument, "the certificate file '" + cert_file + "' cannot be used: " + error.message() +
                                          "; it must hold the server's certificate and then its chain, in PEM form");
    context_.use_private_key(boost::asio::buffer(key), ssl::context::pem, error);
    if (error || SSL_CTX_check_private_key(native) != 1)
      return fail(Code::bad_argument,
                  "the key file '" + key_file + "' cannot be used" + (error ? ": " + error.message() : "") +
                      "; it must hold the private key of '" + cert_file + "' in PEM form, without a passphrase");
    std::tm ends{};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(native)), &ends) == 1) expires_ = ::timegm(&ends);
    return {};
  }

 private:
  mutable ssl::context context_{ssl::context::tls_server};  // OpenSSL locks what connections share of it
  int64_t expires_ = 0;
};

}  // namespace

bool is_plain_http(ErrorCode error) {
  return error.category() == boost::asio::error::get_ssl_category() &&
         ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_HTTP_REQUEST;
}

Result<std::shared_ptr<const TlsIdentity>> TlsIdentity::load(const std::string& cert_file,
                                                             const std::string& key_file) {
  try {
    auto identity = std::make_shared<Identity>();
    REJOIN_TRY(identity->fill(cert_file, key_file));
    return std::shared_ptr<const TlsIdentity>(std::move(identity));
  } catch (const std::exception& e) {
    return fail(Code::internal, std::string("OpenSSL cannot be used: ") + e.what());
  }
}

}  // namespace rejoin::net
