#include "cli/serve_auth.h"

#include <cstdlib>

#include "cli/in_flag.h"
#include "server/key_files.h"
#include "server/secret.h"
#include "server/supabase.h"

namespace rejoin::cli {
namespace {

Status fill_claims(const AuthArguments& arguments, server::ClaimRules& rules) {
  if (!arguments.audience.empty()) rules.audience = arguments.audience;
  if (!arguments.issuer.empty()) rules.issuer = arguments.issuer;
  if (!arguments.tenant_claim.empty()) {
    Result<server::ClaimPath> path = server::parse_claim_path(arguments.tenant_claim);
    if (!path.ok()) return in_flag("--tenant-claim", path.error());
    if (path->front() == "user_metadata")
      return fail(Code::bad_argument,
                  "--tenant-claim: whatever stands in user_metadata is the user's own to change, so that anyone could "
                  "choose a tenant; use app_metadata");
    rules.tenant = std::move(*path);
  }
  if (!arguments.device_claim.empty()) {
    Result<server::ClaimPath> path = server::parse_claim_path(arguments.device_claim);
    if (!path.ok()) return in_flag("--device-claim", path.error());
    rules.device = {std::move(*path)};
  }
  return {};
}

}  // namespace

void add_auth_options(CLI::App& command, AuthArguments& arguments) {
  command
      .add_option("--secret-file", arguments.secret_file,
                  "The secret of HS256 tokens (else REJOIN_SECRET, else DIR/secret if no other key is given)")
      ->type_name("FILE");
  command
      .add_option(
          "--jwt-key", arguments.key_files,
          "A public key of tokens, in PEM form: RSA is RS256, P-256 is ES256, Ed25519 is EdDSA. May be repeated")
      ->type_name("FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->envname("REJOIN_JWT_KEY");
  command.add_option("--jwks", arguments.jwks_file, "A key set of tokens (JWKS)")
      ->type_name("FILE")
      ->envname("REJOIN_JWKS");
  command
      .add_option("--jwks-url", arguments.jwks_url,
                  "Where an identity service publishes its key set; kept up to date. https, or http to this machine")
      ->type_name("URL")
      ->envname("REJOIN_JWKS_URL");
  command
      .add_option("--supabase-url", arguments.supabase_url,
                  "A Supabase project: its keys, issuer, audience and claims; the other options override")
      ->type_name("URL")
      ->envname("REJOIN_SUPABASE_URL");
  command.add_option("--jwt-audience", arguments.audience, "What a token's aud must have")
      ->type_name("AUD")
      ->envname("REJOIN_JWT_AUDIENCE");
  command.add_option("--jwt-issuer", arguments.issuer, "What a token's iss must be")
      ->type_name("ISS")
      ->envname("REJOIN_JWT_ISSUER");
  command
      .add_option("--tenant-claim", arguments.tenant_claim,
                  "The claim that names the tenant (tenant); dots go into objects: app_metadata.tenant")
      ->type_name("PATH")
      ->envname("REJOIN_TENANT_CLAIM");
  command.add_option("--device-claim", arguments.device_claim, "The claim that names the device (sub)")
      ->type_name("PATH")
      ->envname("REJOIN_DEVICE_CLAIM");
}

Status fill_rules(const AuthArguments& arguments, server::Settings& settings) {
  server::TokenSettings& tokens = settings.tokens;
  if (!arguments.supabase_url.empty())
    if (Status used = server::use_supabase(arguments.supabase_url, tokens); !used.ok())
      return in_flag("--supabase-url", used.error());
  REJOIN_TRY(fill_claims(arguments, tokens.rules));
  if (!arguments.jwks_url.empty()) {
    if (Result<net::Url> url = server::parse_jwks_url(arguments.jwks_url); !url.ok())
      return in_flag("--jwks-url", url.error());
    tokens.jwks_url = arguments.jwks_url;
  }
  return {};
}

Status fill_keys(const AuthArguments& arguments, server::Settings& settings) {
  server::TokenSettings& tokens = settings.tokens;
  for (const std::string& file : arguments.key_files) REJOIN_TRY(server::add_pem_file(file, tokens.keys));
  if (!arguments.jwks_file.empty()) REJOIN_TRY(server::add_jwks_file(arguments.jwks_file, tokens.keys));
  // A secret that is lying about must not open a second door beside the keys that were given.
  const char* variable = std::getenv("REJOIN_SECRET");
  const bool given = !arguments.secret_file.empty() || (variable && *variable && !settings.dev);
  if (given || (!settings.dev && !tokens.any_key())) {
    if (!given && settings.data_dir.empty())
      return fail(Code::unauthorized,
                  "without a key no token can be verified; give --data DIR, where a secret is made, or a secret or "
                  "public keys (rejoin serve --help)");
    REJOIN_ASSIGN(settings.secret, server::find_secret(settings.data_dir, arguments.secret_file));
  }
  return {};
}

}  // namespace rejoin::cli
