// Who may see the same has the same view, and nobody else has it.
#include "server/identity.h"

#include <gtest/gtest.h>

namespace rejoin::server {
namespace {

Claims with(const std::string& json, const std::string& role = "app_user") {
  Claims claims;
  claims.role = role;
  claims.json = json;
  return claims;
}

Settings impersonating() {
  Settings settings;
  settings.postgres.impersonate = true;
  return settings;
}

TEST(Identity, WithoutAnythingThatLimitsEverybodySeesEverything) {
  EXPECT_EQ(identity_of(with(R"({"sub":"a"})"), {}).view, 0u);
  EXPECT_EQ(identity_of({}, {}).claims, "{}");
  EXPECT_NE(identity_of({}, impersonating()).view, 0u);
}

TEST(Identity, AFreshTokenOfTheSameCallerHasTheSameView) {
  const uint64_t view =
      identity_of(with(R"({"sub":"a","org":{"id":1,"x":[1,2]},"exp":1,"iat":1})"), impersonating()).view;
  EXPECT_EQ(view, identity_of(with(R"({"iat":9,"nbf":8,"jti":"z","exp":99, "org":{"x":[1,2],"id":1},"sub":"a"})"),
                              impersonating())
                      .view);
  for (const char* other :
       {R"({"sub":"b","org":{"id":1,"x":[1,2]}})", R"({"sub":"a","org":{"id":1,"x":[2,1]}})",
        R"({"sub":"a","org":{"id":"1","x":[1,2]}})", R"({"sub":"a","org":{"id":1,"x":[1,2],"exp":1}})"})
    EXPECT_NE(view, identity_of(with(other), impersonating()).view) << other;
  EXPECT_NE(view, identity_of(with(R"({"sub":"a","org":{"id":1,"x":[1,2]}})", "app_other"), impersonating()).view);
}

TEST(Identity, ATokenWithoutARoleHasTheViewOfTheDefaultOne) {
  Settings settings = impersonating();
  settings.postgres.impersonate_role = "app_user";
  EXPECT_EQ(identity_of(with("{}", ""), settings).view, identity_of(with("{}", "app_user"), settings).view);
}

TEST(Identity, ClaimsOfOthersDoNotCountWhereRolesDoNot) {
  Claims one = with(R"({"sub":"a"})"), two = with(R"({"sub":"b"})", "other");
  one.tables.set("t", {true, false});
  two.tables.set("T", {true, false});
  EXPECT_EQ(identity_of(one, {}).view, identity_of(two, {}).view);
  EXPECT_NE(identity_of(one, {}).view, 0u);
  two.tables.set("T", {true, true});
  EXPECT_NE(identity_of(one, {}).view, identity_of(two, {}).view);
}

TEST(Identity, ADeviceMayWhatItsTokenAndTheServerAllow) {
  Settings settings;
  settings.directions.set("audit", {false, true});
  settings.directions.set("*", {true, false});
  Claims claims;
  claims.tables.set("audit", {true, true});
  claims.tables.set("secrets", {false, false});
  const sync::TableRights rights = identity_of(claims, settings).tables;
  const auto is = [&](const char* table, bool pull, bool push) {
    return rights.of(table) == sync::TableRight{pull, push};
  };
  EXPECT_TRUE(is("audit", false, true));
  EXPECT_TRUE(is("AUDIT", false, true));
  EXPECT_TRUE(is("secrets", false, false));
  EXPECT_TRUE(is("others", true, false));
  EXPECT_TRUE(sync::TableRights().of("any") == sync::TableRight());
}

}  // namespace
}  // namespace rejoin::server
