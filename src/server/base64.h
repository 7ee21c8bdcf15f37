// Base64 (RFC 4648): the standard alphabet with padding for JSON bodies, the URL alphabet without padding for tokens.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace rejoin::server {

std::string base64(BytesView bytes);
std::string base64url(BytesView bytes);
// Strict: the exact alphabet, right padding (or none for URL), unused bits zero. Nothing otherwise.
std::optional<Bytes> from_base64(std::string_view text);
std::optional<Bytes> from_base64url(std::string_view text);

}  // namespace rejoin::server
