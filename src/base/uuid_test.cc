// UUIDs pack to 16 bytes only in their canonical text, and come back as that text.
#include "base/uuid.h"
#include "base/random.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace rejoin {
namespace {

constexpr const char* kText = "5c1e0a77-91ab-7cde-8f23-0123456789ab";

// One digit after the other, to compare with.
bool canonical(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < 36; ++i) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    bool digit = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (dash ? text[i] != '-' : !digit) return false;
  }
  return true;
}

RC_GTEST_PROP(Uuid, RoundTrip, ()) {
  auto bytes = *rc::gen::container<Bytes>(16, rc::gen::arbitrary<char>());
  std::string text = uuid_text(bytes);
  RC_ASSERT(canonical(text));
  std::string digits = text;
  std::erase(digits, '-');
  RC_ASSERT(digits == to_hex(bytes));
  char packed[16];
  RC_ASSERT(uuid_pack(text, packed));
  RC_ASSERT(BytesView(packed, 16) == bytes);
}

TEST(Uuid, EveryOtherCharacterAtEveryPlaceIsRefused) {
  char packed[16];
  for (size_t at = 0; at < 36; ++at)
    for (int c = 0; c < 256; ++c) {
      std::string text = kText;
      text[at] = static_cast<char>(c);
      ASSERT_EQ(uuid_pack(text, packed), canonical(text)) << at << " " << c;
      if (canonical(text)) {
        ASSERT_EQ(uuid_text(BytesView(packed, 16)), text);
      }
    }
}

TEST(Uuid, OtherFormsAreRefused) {
  char packed[16];
  for (const char* text :
       {"", "5c1e0a77", "5C1E0A77-91AB-7CDE-8F23-0123456789AB", "{5c1e0a77-91ab-7cde-8f23-0123456789ab}",
        "5c1e0a7791ab7cde8f230123456789ab", "5c1e0a77-91ab-7cde-8f23-0123456789a",
        "5c1e0a77-91ab-7cde-8f23-0123456789abc", "5c1e0a7-791ab-7cde-8f23-0123456789ab"})
    EXPECT_FALSE(uuid_pack(text, packed)) << text;
}

TEST(Uuid, Version7CarriesTimeVersionAndVariant) {
  const Bytes ones(10, '\xff'), zeros(10, '\0');
  EXPECT_EQ(uuid_v7(0x019aa60ae4c5, ones), "019aa60a-e4c5-7fff-bfff-ffffffffffff");
  EXPECT_EQ(uuid_v7(0x019aa60ae4c5, zeros), "019aa60a-e4c5-7000-8000-000000000000");
}

RC_GTEST_PROP(Uuid, Version7OrdersByTime, ()) {
  auto a = *rc::gen::inRange<int64_t>(0, int64_t{1} << 47), b = *rc::gen::inRange<int64_t>(0, int64_t{1} << 47);
  auto random = *rc::gen::container<Bytes>(10, rc::gen::arbitrary<char>());
  RC_ASSERT((uuid_v7(a, random) < uuid_v7(b, random)) == (a < b));
}

TEST(UuidSequence, AscendsWithinAMillisecondAndWhenTheClockStepsBack) {
  UuidSequence sequence;
  std::string last;
  SeededRandom random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string next = sequence.next(i < 10'000 ? 5'000 : 4'000 + i % 7, random.bytes(10));
    ASSERT_LT(last, next) << i;
    EXPECT_EQ(next[14], '7');
    last = next;
  }
  // 20,000 in one millisecond borrow no more than a few of the next.
  EXPECT_LT(last.substr(0, 13), "00000000-13a0");
}

}  // namespace
}  // namespace rejoin
