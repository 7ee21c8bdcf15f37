// Quantities as people write and read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rejoin::cli {

// "30d", "12h", "15m", "90s", "250ms" to milliseconds; a bare number is seconds. Errors: bad_argument.
Result<int64_t> parse_duration(std::string_view text);
// "64M", "1G", "512K", "100" to bytes; K, M, G are powers of 1024, an optional B or iB may follow. Errors:
// bad_argument.
Result<uint64_t> parse_size(std::string_view text);

// "1,234,567"
std::string count_text(uint64_t n);
// "1 row", "2 rows"
std::string counted(uint64_t n, std::string_view one, std::string_view many = "");
// "3.4 kB" (powers of 1000, as disks and networks count)
std::string bytes_text(uint64_t n);
// "30 days", "12 h", "1.5 s"
std::string duration_text(int64_t ms);

// Hexadecimal, lower case. from_hex: nothing and false for anything else (odd length included).
std::string to_hex(std::string_view bytes);
bool from_hex(std::string_view text, std::string& bytes);
// RFC 4648 base64 with or without padding, plain or URL alphabet. False for anything else.
bool from_base64(std::string_view text, std::string& bytes);

}  // namespace rejoin::cli
