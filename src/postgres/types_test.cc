#include "postgres/types.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

namespace rejoin::postgres {
namespace {

using crdt::ValueRef;
using crdt::ValueType;

Type type(const std::string& base, std::string sql = "") {
  auto t = type_of("b", "X", base, sql.empty() ? base : sql);
  EXPECT_TRUE(t) << base;
  return t.value_or(Type());
}

// From a value to text and back to the value.
bool round_trips(const Type& t, const ValueRef& v) {
  auto text = text_of(t, v);
  return text.ok() && crdt::same_value(value_of(t, *text).ref(), v);
}

RC_GTEST_PROP(Types, EveryIntegerComesBack, (int64_t v)) {
  RC_ASSERT(round_trips(type("int8"), ValueRef::of_integer(v)));
  RC_ASSERT(round_trips(type("numeric"), ValueRef::of_integer(v)));
  RC_ASSERT(text_of(type("int4"), ValueRef::of_integer(v)).ok() == (v == static_cast<int32_t>(v)));
  RC_ASSERT(text_of(type("int2"), ValueRef::of_integer(v)).ok() == (v == static_cast<int16_t>(v)));
}

RC_GTEST_PROP(Types, EveryDoubleComesBackToTheBit, (uint64_t bits)) {
  double v;
  std::memcpy(&v, &bits, sizeof v);
  if (std::isnan(v)) return;
  RC_ASSERT(round_trips(type("float8"), ValueRef::of_real(v)));
  const auto single = static_cast<float>(v);
  if (std::isfinite(single)) RC_ASSERT(round_trips(type("float4"), ValueRef::of_real(single)));
}

RC_GTEST_PROP(Types, EveryBlobComesBack, (std::string v)) {
  RC_ASSERT(round_trips(type("bytea"), ValueRef::of_blob(v)));
  RC_ASSERT(!text_of(type("text"), ValueRef::of_blob(v)).ok());
}

RC_GTEST_PROP(Types, TextComesBackOrIsRefused, (std::string v)) {
  RC_ASSERT(round_trips(type("text"), ValueRef::of_text(v)) == is_storable_text(v));
}

TEST(Types, WhatPostgresCanStoreAsText) {
  for (const char* good : {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_storable_text(good)) << good;
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2x", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xe2\x82",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"})
    EXPECT_FALSE(is_storable_text(bad));
  EXPECT_FALSE(is_storable_text(std::string_view("a\0b", 3)));
}

TEST(Types, NumericIsANumberOnlyWhenThatIsExact) {
  const Type t = type("numeric");
  auto shown = [&](const char* text) {
    const crdt::OwnedValue v = value_of(t, text);
    switch (v.scalar.type) {
      case ValueType::integer:
        return "i" + std::to_string(v.scalar.integer);
      case ValueType::real:
        return "r" + std::to_string(v.scalar.real);
      default:
        return "t" + v.bytes;
    }
  };
  EXPECT_EQ(shown("12"), "i12");
  EXPECT_EQ(shown("-12.000"), "i-12");
  EXPECT_EQ(shown("100"), "i100");
  EXPECT_EQ(shown("0.50"), "r0.500000");
  EXPECT_EQ(shown("9223372036854775807"), "i9223372036854775807");
  EXPECT_EQ(shown("9223372036854775808"), "t9223372036854775808");
  EXPECT_EQ(shown("0.1000000000000000055511151231257827"), "t0.1000000000000000055511151231257827");
  EXPECT_EQ(shown("NaN"), "tNaN");
  EXPECT_EQ(shown("Infinity"), "tInfinity");
}

TEST(Types, KeysHaveOneSpelling) {
  auto fits = [](const Type& t, std::string_view text) { return key_text_of(t, ValueRef::of_text(text)).ok(); };
  const Type tz = type("timestamptz", "timestamp with time zone"), ts = type("timestamp"), date = type("date"),
             uuid = type("uuid");
  for (const char* good :
       {"2026-01-01T23:59:59Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.000001Z", "infinity", "-infinity"})
    EXPECT_TRUE(fits(tz, good)) << good;
  for (const char* bad :
       {"2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z", "2026-01-01T23:59:60Z", "2026-01-01T00:00:00.50Z",
        "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.0000001Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00+00",
        "2026-1-1T00:00:00Z", "Infinity", "now", ""})
    EXPECT_FALSE(fits(tz, bad)) << bad;
  EXPECT_TRUE(fits(ts, "2026-01-01 00:00:00"));
  EXPECT_FALSE(fits(ts, "2026-01-01T00:00:00"));
  EXPECT_TRUE(fits(date, "2026-01-01"));
  EXPECT_FALSE(fits(date, "2026-01-01 "));
  EXPECT_TRUE(fits(uuid, "0190a2b4-0000-7000-8000-00000000000a"));
  EXPECT_FALSE(fits(uuid, "0190A2B4-0000-7000-8000-00000000000A"));
  EXPECT_FALSE(fits(type("int8"), "1"));
  EXPECT_TRUE(key_text_of(type("int8"), ValueRef::of_integer(-1)).ok());
  EXPECT_FALSE(key_text_of(type("int2"), ValueRef::of_integer(40'000)).ok());
  EXPECT_FALSE(key_text_of(type("text"), ValueRef::of_integer(1)).ok());
  EXPECT_FALSE(key_text_of(type("text"), ValueRef::of_null()).ok());
}

TEST(Types, AKeyIsHeldByTheTypeThatPostgresqlTakesItFor) {
  auto held = [](const Type& t, std::string_view text) { return holds_key(t, value_of(t, text).ref()); };
  const Type tz = type("timestamptz", "timestamp with time zone"), ts = type("timestamp"), date = type("date");
  // As PostgreSQL writes them, and as devices do.
  for (const char* good : {"2024-02-29", "0001-01-01", "5874897-12-31", "4714-11-24 BC", "0001-02-29 BC", "infinity"})
    EXPECT_TRUE(held(date, good)) << good;
  for (const char* bad : {"2026-02-29", "1900-02-29", "0000-01-01", "5874898-01-01", "4714-11-23 BC", "0002-02-29 BC",
                          "2026-1-1", "2026-01-01 ", "2026-13-01", "2026-01-00", "today", "", " BC"})
    EXPECT_FALSE(held(date, bad)) << bad;
  for (const char* good : {"2026-01-01 10:00:00.5+00", "2026-01-01T10:00:00.5Z", "12026-01-01 00:00:00+00",
                           "294276-12-31 23:59:59.999999+00", "4714-11-24 00:00:00+00 BC", "-infinity"})
    EXPECT_TRUE(held(tz, good)) << good;
  for (const char* bad : {"2026-02-30T10:00:00Z", "294277-01-01 00:00:00+00", "2026-01-01 10:00:00", "2026-01-01",
                          "2026-01-01 24:00:00+00", "2026-01-01 10:00:00+02", "draft"})
    EXPECT_FALSE(held(tz, bad)) << bad;
  EXPECT_TRUE(held(ts, "2026-01-01 10:00:00.123456"));
  EXPECT_FALSE(held(ts, "2026-02-30 10:00:00"));
  EXPECT_FALSE(key_text_of(date, ValueRef::of_text("2026-02-30")).ok());
  EXPECT_TRUE(held(type("int4"), "2147483647"));
  for (const char* bad : {"2147483648", "draft", "", "99999999999999999999"})
    EXPECT_FALSE(held(type("int4"), bad)) << bad;
  EXPECT_FALSE(held(type("uuid"), "draft"));
  EXPECT_TRUE(held(type("text"), ""));
}

TEST(Types, ATenantsNameIsWhatItsColumnSays) {
  for (const char* good : {"0", "7", "-7", "2147483647"}) EXPECT_TRUE(names_tenant(type("int4"), good)) << good;
  for (const char* bad : {"", "007", "+7", "-0", "7 ", "x", "2147483648", "99999999999999999999"})
    EXPECT_FALSE(names_tenant(type("int4"), bad)) << bad;
  EXPECT_TRUE(names_tenant(type("uuid"), "0190a2b4-0000-7000-8000-00000000000a"));
  EXPECT_FALSE(names_tenant(type("uuid"), "{0190a2b4-0000-7000-8000-00000000000a}"));
  EXPECT_TRUE(names_tenant(type("text"), "anything goes"));
  EXPECT_FALSE(names_tenant(type("text"), "\xff"));
}

TEST(Types, WhatHasNoCounterpartIsNoType) {
  for (const char* base : {"point", "tsvector", "xml", "int4range", "money", "oid", "pair"})
    EXPECT_FALSE(type_of("b", "U", base, base)) << base;
  EXPECT_TRUE(type_of("b", "A", "_int4", "integer[]", "int4"));
  EXPECT_TRUE(type_of("b", "A", "_mood", "mood[]", "enum"));
  EXPECT_FALSE(type_of("b", "A", "_point", "point[]", "point"));
  EXPECT_FALSE(type_of("b", "A", "_jsonb", "jsonb[]", "jsonb"));
  EXPECT_FALSE(type_of("b", "A", "_pair", "pair[]", ""));
}

}  // namespace
}  // namespace rejoin::postgres
