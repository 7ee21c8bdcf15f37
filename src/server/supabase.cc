#include "server/supabase.h"

#include "net/url.h"

namespace rejoin::server {

Status use_supabase(std::string_view url, TokenSettings& settings) {
  REJOIN_ASSIGN(const net::Url project, parse_jwks_url(url));
  const std::string auth = project.text() + "/auth/v1";
  settings.jwks_url = auth + "/.well-known/jwks.json";
  settings.rules.issuer = auth;
  settings.rules.audience = "authenticated";
  settings.rules.tenant = {"app_metadata", "tenant"};
  settings.rules.relay = {"app_metadata", "relay"};
  settings.rules.schema = {"app_metadata", "schema"};
  settings.rules.tables = {"app_metadata", "tables"};
  settings.rules.device = {{"session_id"}, {"sub"}};
  settings.rules.devices_agree = false;
  return {};
}

}  // namespace rejoin::server
