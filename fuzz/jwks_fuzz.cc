// Reads any text as a key set, and any text as a key in PEM form. Whatever is accepted is strong enough and verifies
// nothing by itself.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/jwks.h"

using namespace rejoin;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string in(reinterpret_cast<const char*>(data), size);
  const auto key = server::TokenKey::from_pem(in);
  if (key.ok() && key->verifies("message", std::string(64, '\0'))) std::abort();
  const auto set = server::parse_jwks(in);
  if (!set.ok()) return 0;
  for (server::Algorithm algorithm :
       {server::Algorithm::hs256, server::Algorithm::rs256, server::Algorithm::es256, server::Algorithm::eddsa})
    if (set->keys.verify(algorithm, "", "message", std::string(256, '\0')).ok()) std::abort();
  return 0;
}
