#include "server/quotas.h"

#include <gtest/gtest.h>

namespace rejoin::server {
namespace {

using std::chrono::seconds;
const Quotas::Time kStart{seconds(1'000'000)};

TEST(Quotas, AreReadStrictly) {
  const auto quota = parse_quota("64M/d");
  ASSERT_TRUE(quota.ok());
  EXPECT_EQ(quota->amount, 64u << 20);
  EXPECT_EQ(quota->period, "a day");
  EXPECT_EQ(parse_quota("1/s")->amount, 1u);
  for (const char* wrong : {"", "/", "10", "10/", "/h", "0/h", "-1/h", "1.5/h", "10/w", "10/hh", "10 /h", "M/h",
                            "10T/h", "99999999999999999999/h", "9999999999999G/h"})
    EXPECT_FALSE(parse_quota(wrong).ok()) << wrong;
}

TEST(Quotas, WhatWasPushedCountsUntilTimeHasPaidForIt) {
  QuotaSettings settings;
  settings.device_rows = *parse_quota("3600/h");
  Quotas quotas(settings);
  EXPECT_FALSE(quotas.refusal("t", "d", kStart));
  quotas.spend("t", "d", 3599, 0, kStart);
  EXPECT_FALSE(quotas.refusal("t", "d", kStart));
  // The one that goes beyond is taken whole; then there is a debt.
  quotas.spend("t", "d", 61, 0, kStart);
  const auto refusal = quotas.refusal("t", "d", kStart);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->error.code, Code::quota);
  EXPECT_EQ(refusal->wait_ms, 60'000);
  EXPECT_EQ(refusal->scope, "device");
  EXPECT_NE(refusal->error.message.find("3,600 rows an hour"), std::string::npos) << refusal->error.message;
  EXPECT_NE(refusal->error.message.find("--quota-device-rows"), std::string::npos);
  EXPECT_TRUE(quotas.refusal("t", "d", kStart + seconds(59)));
  EXPECT_FALSE(quotas.refusal("t", "d", kStart + seconds(61)));
  // Others are others.
  EXPECT_FALSE(quotas.refusal("t", "e", kStart));
  EXPECT_FALSE(quotas.refusal("u", "d", kStart));
}

TEST(Quotas, OfATenantIsSharedByItsDevices) {
  QuotaSettings settings;
  settings.tenant_bytes = *parse_quota("1K/s");
  Quotas quotas(settings);
  quotas.spend("t", "a", 1'000'000, 600, kStart);
  quotas.spend("t", "b", 1, 600, kStart);
  for (const char* device : {"a", "b", "new"}) EXPECT_EQ(quotas.refusal("t", device, kStart)->scope, "tenant");
  EXPECT_FALSE(quotas.refusal("u", "a", kStart));
}

TEST(Quotas, WithoutLimitsNothingIsRefused) {
  Quotas quotas({});
  for (int i = 0; i < 10; ++i) quotas.spend("t", "d", uint64_t{1} << 40, uint64_t{1} << 40, kStart);
  EXPECT_FALSE(quotas.refusal("t", "d", kStart));
}

}  // namespace
}  // namespace rejoin::server
