// Results hold a value or an error, and the one table of codes agrees with itself.
#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

namespace rejoin {
namespace {

Result<int> half(int v) {
  if (v % 2)
    return fail(Code::bad_argument, "half of " + std::to_string(v) + " is not a whole number; pass an even one");
  return v / 2;
}

Status check_even(int v) {
  REJOIN_TRY(half(v));
  return {};
}

Result<std::string> quarter(int v) {
  REJOIN_ASSIGN(int h, half(v));
  REJOIN_ASSIGN(auto q, half(h));
  return std::to_string(q);
}

TEST(Result, HoldsAValueOrAnError) {
  EXPECT_TRUE(half(4).ok());
  EXPECT_EQ(*half(4), 2);
  EXPECT_FALSE(half(3));
  EXPECT_EQ(half(3).error().code, Code::bad_argument);
}

TEST(Result, ErrorsPassThroughTryAndAssign) {
  EXPECT_TRUE(check_even(2).ok());
  EXPECT_EQ(check_even(3).error().code, Code::bad_argument);
  EXPECT_EQ(*quarter(8), "2");
  EXPECT_EQ(quarter(6).error().message, "half of 3 is not a whole number; pass an even one");
}

TEST(Result, HoldsWhatCanOnlyBeMoved) {
  Result<std::unique_ptr<int>> r = std::make_unique<int>(7);
  std::unique_ptr<int> v = std::move(r).value();
  EXPECT_EQ(*v, 7);
}

TEST(ResultDeathTest, TheWrongSideAborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH((void)*half(3), "");
}

TEST(ErrorTable, NamesAndNumbersAreUniqueAndReadBack) {
  std::set<std::string_view> names;
  std::set<uint16_t> numbers;
#define REJOIN_ERROR(name, number, http, retry, meaning) \
  EXPECT_TRUE(names.insert(#name).second) << #name;      \
  EXPECT_TRUE(numbers.insert(number).second) << #name;   \
  EXPECT_EQ(code_name(Code::name), #name);               \
  EXPECT_EQ(code_from_number(number), Code::name);       \
  EXPECT_EQ(code_http_status(Code::name), http);         \
  EXPECT_EQ(code_retryable(Code::name), retry);          \
  EXPECT_EQ(code_meaning(Code::name), meaning);          \
  EXPECT_TRUE(http == 200 || (http >= 400 && http < 600)) << #name;
#include "base/errors.def"
#undef REJOIN_ERROR
  EXPECT_EQ(code_from_number(65000), std::nullopt);
  EXPECT_EQ(code_from_number(~uint64_t{0}), std::nullopt);
  EXPECT_EQ(code_from_number(uint64_t{1} << 16), std::nullopt);
}

}  // namespace
}  // namespace rejoin
