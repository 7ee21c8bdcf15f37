#include "postgres/wire.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rejoin::postgres {
namespace {

using Texts = std::vector<std::optional<std::string>>;

Bytes array_of(const Texts& texts) {
  Array array = Array::texts();
  for (const auto& t : texts) t ? array.add(BytesView(*t)) : array.add_null();
  return array.finish();
}

RC_GTEST_PROP(Wire, ATextArrayComesBackAsItWas, ()) {
  const auto raw = *rc::gen::arbitrary<std::vector<std::pair<bool, std::string>>>();
  Texts texts;
  for (const auto& [null, text] : raw) texts.push_back(null ? std::nullopt : std::optional(text));
  const Bytes bytes = array_of(texts);
  std::vector<TextElement> out;
  RC_ASSERT(read_text_array(bytes, out));
  RC_ASSERT(out.size() == texts.size());
  for (size_t i = 0; i < out.size(); ++i) {
    RC_ASSERT(out[i].null == !texts[i]);
    if (texts[i]) RC_ASSERT(out[i].text == *texts[i]);
  }
}

TEST(Wire, DamagedArraysAreNoArrays) {
  const Bytes good = array_of({"one", std::nullopt, ""});
  std::vector<TextElement> out;
  ASSERT_TRUE(read_text_array(good, out));
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(read_text_array(BytesView(good).substr(0, n), out)) << n;
  EXPECT_FALSE(read_text_array(good + "x", out));
  auto with = [&](size_t at, uint32_t value) {
    Bytes bad = good;
    for (int i = 0; i < 4; ++i) bad[at + static_cast<size_t>(i)] = static_cast<char>(value >> (24 - 8 * i));
    return bad;
  };
  EXPECT_FALSE(read_text_array(with(0, 2), out));            // two dimensions
  EXPECT_FALSE(read_text_array(with(0, 0xffffffff), out));   // less than none
  EXPECT_FALSE(read_text_array(with(8, kInt8Oid), out));     // of numbers
  EXPECT_FALSE(read_text_array(with(12, 0x7fffffff), out));  // more elements than bytes
  EXPECT_FALSE(read_text_array(with(12, 2), out));           // fewer than there are
  EXPECT_FALSE(read_text_array(with(12, 0xffffffff), out));  // a negative number of them
  EXPECT_FALSE(read_text_array(with(20, 0x7fffffff), out));  // an element longer than the rest
  EXPECT_FALSE(read_text_array(with(20, 0xfffffffe), out));  // of length -2
}

// Whatever the bytes are: no crash, and what was read lies within them.
RC_GTEST_PROP(Wire, AnyBytesAreReadWithinTheirBounds, ()) {
  const auto head = *rc::gen::inRange<size_t>(0, 21);
  const auto tail = *rc::gen::arbitrary<std::string>();
  const Bytes bytes = array_of({"a", "b"}).substr(0, head) + tail;
  std::vector<TextElement> out;
  if (!read_text_array(bytes, out)) return;
  for (const TextElement& e : out)
    if (!e.null)
      RC_ASSERT(e.text.data() >= bytes.data() && e.text.data() + e.text.size() <= bytes.data() + bytes.size());
}

TEST(Wire, NullAndEmptyParametersDiffer) {
  Params params;
  params.text("").null(kTextOid).integer(-2).bytea(BytesView("\0x", 2));
  ASSERT_EQ(params.size(), 4u);
  EXPECT_NE(params.values()[0], nullptr);
  EXPECT_EQ(params.values()[1], nullptr);
  EXPECT_EQ(params.lengths(), (std::vector<int>{0, 0, 8, 2}));
  EXPECT_EQ(std::string(params.values()[2], 8), std::string("\xff\xff\xff\xff\xff\xff\xff\xfe", 8));
  EXPECT_EQ(params.oids()[3], kByteaOid);
}

}  // namespace
}  // namespace rejoin::postgres
