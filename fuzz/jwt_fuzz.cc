// Verifies any text as a token, and any text as the header and claims of a token that is signed rightly.
// Input: the header, a zero byte, the claims; or a token.
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/base64.h"
#include "server/jwt.h"
#include "server/tenant_files.h"

using namespace rejoin;

namespace {
const std::string kSecret = "0123456789abcdef0123456789abcdef";
constexpr int64_t kNowMs = 1'700'000'000'000;
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view in(reinterpret_cast<const char*>(data), size);
  (void)server::verify_token(in, kSecret, kNowMs).ok();
  const size_t zero = in.find('\0');
  if (zero == std::string_view::npos) return 0;
  std::string token = server::base64url(in.substr(0, zero)) + "." + server::base64url(in.substr(zero + 1));
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  HMAC(EVP_sha256(), kSecret.data(), static_cast<int>(kSecret.size()),
       reinterpret_cast<const unsigned char*>(token.data()), token.size(), mac, &n);
  token += "." + server::base64url(std::string_view(reinterpret_cast<char*>(mac), n));
  const auto claims = server::verify_token(token, kSecret, kNowMs);
  if (!claims.ok()) return 0;
  // Whatever is accepted names a tenant and a device, has not expired, and can be minted again.
  if (claims->tenant.empty() || claims->device.empty() || claims->expires_s < kNowMs / 1000 - 60) std::abort();
  if (claims->expires_s <= kNowMs / 1000) return 0;
  const auto minted = server::mint_token(*claims, kSecret, kNowMs);
  if (!minted.ok()) {
    // A tenant name that no server has a file for is refused later, by its own error, but none is minted.
    if (server::check_tenant_name(claims->tenant).ok()) std::abort();
    return 0;
  }
  const auto again = server::verify_token(*minted, kSecret, kNowMs);
  if (!again.ok() || !(*again == *claims)) std::abort();
  return 0;
}
