#include "server/discreet_store.h"

#include <gtest/gtest.h>

namespace rejoin::server {
namespace {

TEST(DiscreetStore, what_devices_are_told_names_nothing_of_the_servers) {
  for (uint64_t number = 1; number < 100; ++number) {
    const std::optional<Code> code = code_from_number(number);
    if (!code) continue;
    const Error told = for_devices(fail(*code, "PostgreSQL: role \"app\" at /run/socket [42501]"));
    for (const char* secret : {"PostgreSQL", "role", "app", "socket", "42501", "rejoin"})
      EXPECT_EQ(told.message.find(secret), std::string::npos) << told.message;
    // Of its own file, token or request a device thinks when it hears one of these.
    for (Code own : {Code::read_only, Code::unauthorized, Code::forbidden, Code::not_found, Code::bad_argument,
                     Code::corrupt, Code::unsupported, Code::interrupted})
      EXPECT_NE(told.code, own) << number;
    EXPECT_TRUE(code_retryable(told.code) || !code_retryable(*code)) << number;
  }
}

TEST(DiscreetStore, what_is_about_the_request_reaches_the_device) {
  for (Code code : {Code::stale_chain, Code::unknown_chain, Code::clock_ahead, Code::too_large, Code::gap,
                    Code::bad_argument, Code::corrupt, Code::schema_refused})
    EXPECT_FALSE(about_the_database(fail(code, "the pull cursor is malformed; pull from the beginning")));
  EXPECT_TRUE(about_the_database(fail(Code::forbidden, "PostgreSQL: permission denied for table todos [42501]")));
  EXPECT_TRUE(about_the_database(fail(Code::corrupt, "the record of a row is damaged; run rejoin pg doctor")));
  EXPECT_TRUE(about_the_database(fail(Code::network, "the connection broke")));
  EXPECT_TRUE(about_the_database(fail(Code::internal, "anything")));
}

}  // namespace
}  // namespace rejoin::server
