#include "cli/units.h"

#include <charconv>
#include <cstdio>
#include <limits>

namespace rejoin::cli {
namespace {

// The leading digits; `rest` is what follows them.
bool leading_number(std::string_view text, uint64_t& n, std::string_view& rest) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end == text.data()) return false;
  rest = text.substr(static_cast<size_t>(end - text.data()));
  return true;
}

std::string one_decimal(double v, const char* unit) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, v < 10 ? "%.1f %s" : "%.0f %s", v, unit);
  return buffer;
}

}  // namespace

Result<int64_t> parse_duration(std::string_view text) {
  uint64_t n = 0;
  std::string_view unit;
  int64_t factor = 0;
  if (leading_number(text, n, unit)) {
    if (unit == "ms") factor = 1;
    if (unit == "s" || unit.empty()) factor = 1000;
    if (unit == "m" || unit == "min") factor = 60'000;
    if (unit == "h") factor = 3'600'000;
    if (unit == "d") factor = 86'400'000;
    if (unit == "w") factor = 7 * int64_t{86'400'000};
    if (unit == "y") factor = 365 * int64_t{86'400'000};
  }
  if (factor == 0 || n > static_cast<uint64_t>(std::numeric_limits<int64_t>::max() / factor))
    return fail(Code::bad_argument,
                "'" + std::string(text) + "' is not a length of time; write it like 30d, 12h, 15m or 90s");
  return static_cast<int64_t>(n) * factor;
}

Result<uint64_t> parse_size(std::string_view text) {
  uint64_t n = 0;
  std::string_view unit;
  int shift = -1;
  if (leading_number(text, n, unit)) {
    if (unit.ends_with("iB"))
      unit.remove_suffix(2);
    else if (unit.ends_with("B"))
      unit.remove_suffix(1);
    if (unit.empty()) shift = 0;
    if (unit == "k" || unit == "K") shift = 10;
    if (unit == "M") shift = 20;
    if (unit == "G") shift = 30;
    if (unit == "T") shift = 40;
  }
  if (shift < 0 || n > (std::numeric_limits<uint64_t>::max() >> shift))
    return fail(Code::bad_argument, "'" + std::string(text) + "' is not a size; write it like 512K, 64M or 1G");
  return n << shift;
}

std::string count_text(uint64_t n) {
  std::string digits = std::to_string(n), out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string counted(uint64_t n, std::string_view one, std::string_view many) {
  std::string plural = many.empty() ? std::string(one) + "s" : std::string(many);
  return count_text(n) + " " + (n == 1 ? std::string(one) : plural);
}

std::string bytes_text(uint64_t n) {
  if (n < 1000) return counted(n, "byte");
  static constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  double v = static_cast<double>(n) / 1000;
  size_t unit = 0;
  while (v >= 999.5 && unit + 1 < std::size(kUnits)) v /= 1000, ++unit;
  return one_decimal(v, kUnits[unit]);
}

std::string duration_text(int64_t ms) {
  if (ms < 1000) return std::to_string(ms) + " ms";
  if (ms < 60'000) return one_decimal(static_cast<double>(ms) / 1000, "s");
  if (ms < 3'600'000) return std::to_string(ms / 60'000) + " min";
  if (ms < 2 * int64_t{86'400'000}) return std::to_string(ms / 3'600'000) + " h";
  return std::to_string(ms / 86'400'000) + " days";
}

std::string to_hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (unsigned char b : bytes) out += kDigits[b >> 4], out += kDigits[b & 15];
  return out;
}

bool from_hex(std::string_view text, std::string& bytes) {
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  bytes.clear();
  if (text.size() % 2 != 0) return false;
  for (size_t i = 0; i < text.size(); i += 2) {
    int a = digit(text[i]), b = digit(text[i + 1]);
    if (a < 0 || b < 0) return bytes.clear(), false;
    bytes += static_cast<char>(a << 4 | b);
  }
  return true;
}

bool from_base64(std::string_view text, std::string& bytes) {
  bytes.clear();
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return false;
  uint32_t bits = 0;
  int have = 0;
  for (char c : text) {
    int v = c >= 'A' && c <= 'Z'   ? c - 'A'
            : c >= 'a' && c <= 'z' ? c - 'a' + 26
            : c >= '0' && c <= '9' ? c - '0' + 52
            : c == '+' || c == '-' ? 62
            : c == '/' || c == '_' ? 63
                                   : -1;
    if (v < 0) return bytes.clear(), false;
    bits = bits << 6 | static_cast<uint32_t>(v);
    have += 6;
    if (have >= 8) have -= 8, bytes += static_cast<char>(bits >> have & 0xff);
  }
  return true;
}

}  // namespace rejoin::cli
