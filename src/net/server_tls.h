// A server's certificate, and connections that prove it. TLS 1.2 and later. Internal to `net`, but for TlsIdentity.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "net/server_stream.h"

namespace rejoin::net {

// A certificate with its chain and its key, read once. Immutable, thread-safe.
class TlsIdentity {
 public:
  // Both files in PEM form, the server's own certificate first. Errors name the file and the cure: not_found,
  // forbidden (not readable; or a key that others may read), bad_argument (no PEM, a key with a passphrase, a key of
  // another certificate).
  static Result<std::shared_ptr<const TlsIdentity>> load(const std::string& cert_file, const std::string& key_file);
  virtual ~TlsIdentity() = default;
  // When the first certificate ends, in seconds since 1970.
  virtual int64_t expires() const = 0;
  virtual std::unique_ptr<ServerStream> accept(boost::asio::ip::tcp::socket socket) const = 0;
};

}  // namespace rejoin::net
