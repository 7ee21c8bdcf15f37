#include "base/uuid.h"

#include <cstring>

namespace rejoin {
namespace {

// Eight hexadecimal digits at a time, one byte of a 64-bit word each, the first digit in the lowest byte. Keys are
// packed and unpacked for every row, and a table look-up per digit costs three times as much.
constexpr uint64_t each_byte(uint64_t b) { return b * 0x0101010101010101; }

uint64_t digits_of(uint64_t nibbles) {
  uint64_t letters = (nibbles + each_byte(0x76)) >> 7 & each_byte(1);  // 1 where a nibble is 10 or more
  return nibbles + each_byte('0') + letters * ('a' - '0' - 10);
}

// Packs 4 bytes into out. Gives 0 only if all 8 characters were lower-case hexadecimal digits.
uint64_t pack8(uint64_t text, char* out) {
  uint64_t nibbles = (text & each_byte(0x0f)) + 9 * (text >> 6 & each_byte(1));
  uint64_t wrong = (digits_of(nibbles) ^ text) | (nibbles & each_byte(0xf0));
  uint64_t v = (nibbles << 4 | nibbles >> 8) & 0x00ff00ff00ff00ff;
  v = (v | v >> 8) & 0x0000ffff0000ffff;
  auto packed = static_cast<uint32_t>(v | v >> 16);
  std::memcpy(out, &packed, 4);
  return wrong;
}

uint64_t unpack8(const char* bytes) {
  uint32_t packed;
  std::memcpy(&packed, bytes, 4);
  uint64_t v = (packed | static_cast<uint64_t>(packed) << 16) & 0x0000ffff0000ffff;
  v = (v | v << 8) & 0x00ff00ff00ff00ff;
  return digits_of((v >> 4 & 0x000f000f000f000f) | (v & 0x000f000f000f000f) << 8);
}

uint64_t load64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

uint64_t load32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}

}  // namespace

bool uuid_pack(std::string_view text, char* out) {
  const char* p = text.data();
  if (text.size() != 36 || p[8] != '-' || p[13] != '-' || p[18] != '-' || p[23] != '-') return false;
  uint64_t wrong = pack8(load64(p), out);
  wrong |= pack8(load32(p + 9) | load32(p + 14) << 32, out + 4);
  wrong |= pack8(load32(p + 19) | load32(p + 24) << 32, out + 8);
  wrong |= pack8(load64(p + 28), out + 12);
  return wrong == 0;
}

void uuid_unpack(const char* bytes, char* text) {
  uint64_t parts[4];
  for (int i = 0; i < 4; ++i) parts[i] = unpack8(bytes + 4 * i);
  std::memcpy(text, &parts[0], 8);
  std::memcpy(text + 9, &parts[1], 4);
  parts[1] >>= 32;
  std::memcpy(text + 14, &parts[1], 4);
  std::memcpy(text + 19, &parts[2], 4);
  parts[2] >>= 32;
  std::memcpy(text + 24, &parts[2], 4);
  std::memcpy(text + 28, &parts[3], 8);
  text[8] = text[13] = text[18] = text[23] = '-';
}

std::string uuid_text(BytesView sixteen) {
  std::string out(36, '\0');
  uuid_unpack(sixteen.data(), out.data());
  return out;
}

std::string uuid_v7(int64_t now_ms, BytesView random_bytes) {
  char b[16];
  for (int i = 0; i < 6; ++i) b[i] = static_cast<char>(now_ms >> (40 - 8 * i));
  for (int i = 0; i < 10; ++i) b[6 + i] = random_bytes[static_cast<size_t>(i)];
  b[6] = static_cast<char>((b[6] & 0x0f) | 0x70);
  b[8] = static_cast<char>((b[8] & 0x3f) | 0x80);
  return uuid_text(BytesView(b, 16));
}

std::string UuidSequence::next(int64_t now_ms, BytesView random_bytes) {
  constexpr uint32_t kCounterEnd = 1 << 12;
  Bytes rest(random_bytes);
  if (now_ms > last_ms_) {
    // Starts at random in the lower half, so that ids stay hard to guess and the counter has room.
    last_ms_ = now_ms;
    counter_ = (static_cast<uint8_t>(rest[0]) << 8 | static_cast<uint8_t>(rest[1])) & (kCounterEnd / 2 - 1);
  } else if (++counter_ == kCounterEnd) {
    ++last_ms_;
    counter_ = 0;
  }
  rest[0] = static_cast<char>(counter_ >> 8);
  rest[1] = static_cast<char>(counter_);
  return uuid_v7(last_ms_, rest);
}

}  // namespace rejoin
