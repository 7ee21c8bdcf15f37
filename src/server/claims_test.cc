// What tokens must say, and where it is read from.
#include "server/claims.h"

#include <gtest/gtest.h>

#include <string>

#include "server/supabase.h"
#include "server/test_keys.h"

namespace rejoin::server {
namespace {

using testing_keys::good_claims;
using testing_keys::kNow;

const std::string kExp = R"("exp":)" + std::to_string(kNow + 3600);

Result<Claims> read(const std::string& text, const ClaimRules& rules = {}) {
  return read_claims(text, rules, kNow, 60);
}

void expect_refused(const std::string& text, const ClaimRules& rules, const std::string& why) {
  const Result<Claims> claims = read(text, rules);
  ASSERT_FALSE(claims.ok()) << text;
  EXPECT_EQ(claims.error().code, Code::unauthorized) << text;
  EXPECT_NE(claims.error().message.find(why), std::string::npos) << text << ": " << claims.error().message;
}

TEST(Claims, RightsOfTablesAreReadAndNothingElseIsOne) {
  const Result<Claims> claims = read(good_claims(R"(,"tables":{"Todos":"write","audit":"read","*":"none"})"));
  ASSERT_TRUE(claims.ok()) << claims.error().message;
  EXPECT_TRUE(claims->tables.of("todos") == (sync::TableRight{true, true}));
  EXPECT_TRUE(claims->tables.of("audit") == (sync::TableRight{true, false}));
  EXPECT_TRUE(claims->tables.of("others") == (sync::TableRight{false, false}));
  EXPECT_TRUE(read(good_claims())->tables.of("todos") == sync::TableRight());
  for (const char* tables : {R"("write")", R"(["todos"])", "true", "1"})
    expect_refused(good_claims(std::string(",\"tables\":") + tables), {}, "wrong type (tables)");
  for (const char* right : {R"("WRITE")", R"("")", "true", "null", R"(["read"])"})
    expect_refused(good_claims(std::string(R"(,"tables":{"todos":)") + right + "}"), {},
                   "neither write, read nor none");
  ClaimRules elsewhere;
  elsewhere.tables = {"app_metadata", "tables"};
  EXPECT_FALSE(read(good_claims(R"(,"tables":{"todos":"none"})"), elsewhere)->tables.limited());
  EXPECT_TRUE(read(good_claims(R"(,"app_metadata":{"tables":{"todos":"none"}})"), elsewhere)->tables.limited());
}

TEST(Claims, TheAudienceMustBeThere) {
  ClaimRules rules;
  rules.audience = "rejoin";
  for (const char* aud : {R"("rejoin")", R"(["rejoin"])", R"(["other","rejoin"])"})
    EXPECT_TRUE(read(good_claims(std::string(",\"aud\":") + aud), rules).ok()) << aud;
  expect_refused(good_claims(), rules, "(aud)");
  for (const char* aud : {R"("other")", R"("")", "[]", R"(["other"])", R"("rejoin2")", R"("rejoi")", R"("Rejoin")",
                          R"(" rejoin")", R"("rejoin,other")", R"("rejoin\u0000")"})
    expect_refused(good_claims(std::string(",\"aud\":") + aud), rules, "another audience");
  for (const char* aud : {"null", "7", "true", R"({"rejoin":1})", R"(["rejoin",7])", R"([["rejoin"]])"})
    expect_refused(good_claims(std::string(",\"aud\":") + aud), rules, "wrong type");
}

TEST(Claims, TheIssuerMustBeIt) {
  ClaimRules rules;
  rules.issuer = "https://login.example.com";
  EXPECT_TRUE(read(good_claims(R"(,"iss":"https://login.example.com")"), rules).ok());
  expect_refused(good_claims(), rules, "(iss)");
  for (const char* iss : {R"("https://login.example.com/")", R"("https://login.example.com.evil.example")",
                          R"("http://login.example.com")", R"("")", R"("HTTPS://login.example.com")"})
    expect_refused(good_claims(std::string(",\"iss\":") + iss), rules, "another issuer");
  for (const char* iss : {"null", R"(["https://login.example.com"])", "7"})
    expect_refused(good_claims(std::string(",\"iss\":") + iss), rules, "wrong type");
}

TEST(Claims, PathsGoIntoObjects) {
  ClaimRules rules;
  rules.tenant = *parse_claim_path("app_metadata.org.id");
  rules.device = {*parse_claim_path("https://example.com/device")};
  const std::string device = R"("https://example.com/device":"d1",)";
  const Result<Claims> claims = read(
      "{" + device + R"("sub":"someone","tenant":"rival","app_metadata":{"org":{"id":"acme"}},)" + kExp + "}", rules);
  ASSERT_TRUE(claims.ok()) << claims.error().message;
  EXPECT_EQ(claims->tenant, "acme");
  EXPECT_EQ(claims->device, "d1");
  // A name with dots at the top is not the way into objects, and what leads nowhere is not there.
  for (const char* text : {R"("app_metadata.org.id":"acme",)", R"("app_metadata":{"org.id":"acme"},)",
                           R"("app_metadata":{},)", R"("app_metadata":"acme",)", R"("app_metadata":[{"org":1}],)",
                           R"("app_metadata":null,)", R"("tenant":"acme",)"})
    expect_refused("{" + device + text + kExp + "}", rules, "names no tenant (app_metadata.org.id)");
  for (const char* text : {R"("app_metadata":{"org":{"id":7}},)", R"("app_metadata":{"org":{"id":null}},)",
                           R"("app_metadata":{"org":{"id":["acme"]}},)"})
    expect_refused("{" + device + text + kExp + "}", rules, "wrong type");
  expect_refused(R"({"app_metadata":{"org":{"id":"acme"}},"sub":"d",)" + kExp + "}", rules, "names no device");
}

TEST(Claims, PathsAreChecked) {
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "a\n", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p"}) {
    const Result<ClaimPath> path = parse_claim_path(bad);
    ASSERT_FALSE(path.ok()) << bad;
    EXPECT_EQ(path.error().code, Code::bad_argument);
  }
  EXPECT_EQ(*parse_claim_path("a"), ClaimPath{"a"});
  EXPECT_EQ(*parse_claim_path("a.b"), (ClaimPath{"a", "b"}));
  EXPECT_EQ(*parse_claim_path("https://a.b/c.d"), ClaimPath{"https://a.b/c.d"});
  EXPECT_EQ(claim_path_text({"a", "b"}), "a.b");
}

TEST(Claims, TheRoleIsTakenOnlyWhenItIsAName) {
  EXPECT_EQ(read(good_claims(R"(,"role":"writer")"))->role, "writer");
  for (const char* role : {R"("")", R"(["admin"])", "7", "null", R"({"a":1})"})
    EXPECT_EQ(read(good_claims(std::string(",\"role\":") + role))->role, "") << role;
  expect_refused(good_claims(R"(,"role":"a\u0000b")"), {}, "(role)");
  expect_refused(good_claims(R"(,"role":")" + std::string(129, 'r') + "\""), {}, "(role)");
}

TEST(Claims, SupabasesConventions) {
  TokenSettings settings;
  ASSERT_TRUE(use_supabase("https://abcdefgh.supabase.co/", settings).ok());
  EXPECT_EQ(settings.jwks_url, "https://abcdefgh.supabase.co/auth/v1/.well-known/jwks.json");
  const std::string iss = R"("iss":"https://abcdefgh.supabase.co/auth/v1",)";
  const std::string aud = R"("aud":"authenticated",)";
  const std::string tenant = R"("app_metadata":{"provider":"email","tenant":"acme","schema":true,"relay":false},)";
  const std::string more = R"("role":"authenticated","sub":"user-1","user_metadata":{"tenant":"rival"},)";
  Result<Claims> claims = read("{" + iss + aud + tenant + more + R"("session_id":"s-1",)" + kExp + "}", settings.rules);
  ASSERT_TRUE(claims.ok()) << claims.error().message;
  EXPECT_EQ(claims->tenant, "acme");
  EXPECT_EQ(claims->device, "s-1");
  EXPECT_EQ(claims->role, "authenticated");
  EXPECT_TRUE(claims->schema);
  EXPECT_FALSE(claims->relay);
  claims = read("{" + iss + aud + tenant + more + kExp + "}", settings.rules);
  ASSERT_TRUE(claims.ok());
  EXPECT_EQ(claims->device, "user-1");
  // What a user may write, or an anonymous key says, gives nothing.
  expect_refused("{" + iss + aud + more + R"("tenant":"rival",)" + kExp + "}", settings.rules, "names no tenant");
  expect_refused("{" + aud + tenant + more + kExp + "}", settings.rules, "(iss)");
  expect_refused("{" + iss + R"("aud":"anon",)" + tenant + more + kExp + "}", settings.rules, "(aud)");
  EXPECT_FALSE(use_supabase("http://abcdefgh.supabase.co", settings).ok());
  EXPECT_FALSE(use_supabase("abcdefgh", settings).ok());
  EXPECT_TRUE(use_supabase("http://127.0.0.1:54321", settings).ok());
  EXPECT_EQ(settings.rules.issuer, "http://127.0.0.1:54321/auth/v1");
}

}  // namespace
}  // namespace rejoin::server
