// What people and JSON get to see of values, stamps and records.
#include "crdt/print.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>

#include "crdt/law_generators.h"

namespace rejoin::crdt {
namespace {

TEST(Print, ValuesAreJsonLiterals) {
  EXPECT_EQ(value_json(ValueRef::of_null()), "null");
  EXPECT_EQ(value_json(ValueRef::of_integer(std::numeric_limits<int64_t>::min())), "-9223372036854775808");
  EXPECT_EQ(value_json(ValueRef::of_text("a\"b")), R"("a\"b")");
  EXPECT_EQ(value_json(ValueRef::of_blob(BytesView("\x0a\xff", 2))), R"({"blob":"0aff"})");
  EXPECT_EQ(value_json(ValueRef::of_blob("")), R"({"blob":""})");
}

TEST(Print, RealsNeverLookLikeIntegers) {
  EXPECT_EQ(value_json(ValueRef::of_real(1)), "1.0");
  EXPECT_EQ(value_json(ValueRef::of_real(-0.0)), "-0.0");
  EXPECT_EQ(value_json(ValueRef::of_real(0.1)), "0.1");
  EXPECT_EQ(value_json(ValueRef::of_real(1e300)), "1e+300");
  EXPECT_EQ(value_json(ValueRef::of_real(123456789012345680.0)), "123456789012345680.0");
  EXPECT_EQ(value_json(ValueRef::of_real(std::numeric_limits<double>::infinity())), "1e999");
  EXPECT_EQ(value_json(ValueRef::of_real(-std::numeric_limits<double>::infinity())), "-1e999");
  EXPECT_EQ(value_json(ValueRef::of_real(std::nan(""))), "null");
}

RC_GTEST_PROP(Print, RealsReadBackToTheSameBits, (uint64_t bits)) {
  double v;
  std::memcpy(&v, &bits, 8);
  RC_PRE(std::isfinite(v));
  std::string text = value_json(ValueRef::of_real(v));
  double back = std::strtod(text.c_str(), nullptr);
  RC_ASSERT(std::memcmp(&back, &v, 8) == 0);
  RC_ASSERT(text.find_first_of(".e") != std::string::npos);
}

TEST(Print, TextIsEscaped) {
  EXPECT_EQ(json_string(BytesView("\0\x1f\b\f\n\r\t\\\"/\x7f", 11)), R"("\u0000\u001f\b\f\n\r\t\\\"/)"
                                                                     "\x7f\"");
  EXPECT_EQ(json_string("Grüße 語 😀"), "\"Grüße 語 😀\"");
  EXPECT_EQ(json_string(""), "\"\"");
}

TEST(Print, BytesThatAreNotUtf8AreReplaced) {
  const std::string r = "\xef\xbf\xbd";
  const std::pair<const char*, std::string> cases[] = {
      {"\xff", r},
      {"a\x80"
       "b",
       "a" + r + "b"},
      {"\xc3", r},      // cut at the end
      {"\xe8\xaa", r},  // one for the broken part
      {"\xf0\x9f\x98"
       "z",
       r + "z"},
      {"\xc0\xaf", r + r},                  // overlong
      {"\xe0\x80\xaf", r + r + r},          // overlong
      {"\xed\xa0\x80", r + r + r},          // a surrogate
      {"\xf4\x90\x80\x80", r + r + r + r},  // above U+10FFFF
      {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
      {"\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(json_string(text), "\"" + expected + "\"") << to_hex(text);
}

TEST(Print, Stamps) {
  EXPECT_EQ(hlc_text(kBottomHlc), "never");
  EXPECT_EQ(hlc_text(hlc_of_ms(1'763'722'323'141) + 7), "2025-11-21T10:52:03.141Z/7");
  EXPECT_EQ(stamp_text({hlc_of_ms(0) + 1, 1}, law::sites()), "1970-01-01T00:00:00.000Z/1 61737373");
  EXPECT_EQ(stamp_text({5, 3}, law::sites()), "1970-01-01T00:00:00.000Z/5 site?");
  EXPECT_EQ(stamp_text({}, law::sites()), "never");
}

TEST(Print, ColumnSets) {
  EXPECT_EQ(column_set_text({}), "none");
  EXPECT_EQ(column_set_text(ColumnSet::first(1)), "0");
  EXPECT_EQ(column_set_text(ColumnSet::first(4)), "0-3");
  ColumnSet set = ColumnSet::of_bits(0b1011'0110);
  set.add(63), set.add(64), set.add(700);
  EXPECT_EQ(column_set_text(set), "1-2,4-5,7,63-64,700");
}

TEST(Print, Records) {
  RowRecord record;
  EXPECT_EQ(record_text(record, law::sites()), "unknown");
  record.insert({hlc_of_ms(1'763'722'323'141), 0}, 4);
  EXPECT_EQ(record_text(record, law::sites()), "alive 2025-11-21T10:52:03.141Z/0 6d737373; born then; 0-3 then");
  record.write(ColumnSet::of(1), {hlc_of_ms(1'763'722'323'142), 2});
  record.alive = false, record.hidden = true, record.live = {hlc_of_ms(1'763'722'323'143), 1};
  EXPECT_EQ(record_text(record, law::sites()),
            "dead 2025-11-21T10:52:03.143Z/0 61737373, hidden; born 2025-11-21T10:52:03.141Z/0 6d737373; "
            "0,2-3 2025-11-21T10:52:03.141Z/0 6d737373; 1 2025-11-21T10:52:03.142Z/0 7a737373");
}

}  // namespace
}  // namespace rejoin::crdt
