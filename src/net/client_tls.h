// TLS as this client speaks it: 1.2 and later, the system's certificate authorities, host names verified. Internal to
// `net`.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "base/result.h"
#include "net/server_stream.h"

namespace rejoin::net {

// `ca_file`: PEM; empty: the system's. Errors: bad_argument (the file).
Status fill_client_context(boost::asio::ssl::context& context, const std::string& ca_file);
// Whom the handshake has to be with. False: OpenSSL does not take the name.
bool expect_host(SSL* connection, const std::string& host);
// A handshake's failure, for a person.
std::string why_no_handshake(SSL* connection, boost::system::error_code error);

// A client's end; `why` after a handshake that failed.
class TlsClientStream : public ServerStream {
 public:
  virtual std::string why(ErrorCode error) = 0;
};
// Errors: those of fill_client_context.
Result<std::unique_ptr<TlsClientStream>> make_tls_client_stream(boost::asio::ip::tcp::socket socket,
                                                                const std::string& host, const std::string& ca_file);

}  // namespace rejoin::net
