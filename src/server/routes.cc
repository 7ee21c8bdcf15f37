#include "server/routes.h"

#include <algorithm>
#include <any>
#include <cmath>
#include <memory>
#include <utility>

#include "base/bytes.h"
#include "net/url.h"
#include "server/contract_route.h"
#include "server/cors.h"
#include "server/exchange.h"
#include "server/identity.h"
#include "server/live_hub.h"
#include "server/live_protocols.h"
#include "server/message_json.h"
#include "server/tenant_files.h"
#include "server/trace.h"
#include "server/utf8.h"
#include "sync/messages.h"
#include "sync/server_session.h"

namespace rejoin::server {
namespace {

using net::HttpRequest;
using net::HttpResponse;

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kProtobuf = "application/x-protobuf";

struct Route {
  std::string_view path;
  std::string_view name;  // in metrics and logs
  std::string_view method;
};
constexpr Route kSync{"/v1/sync", "sync", "POST"};
constexpr Route kLive{"/v1/live", "live", "GET"};
constexpr Route kContract{"/v1/contract", "contract", "GET, PUT"};
constexpr Route kHealth{"/health", "health", "GET"};
constexpr Route kReady{"/ready", "ready", "GET"};
constexpr Route kMetrics{"/metrics", "metrics", "GET"};
constexpr const Route* kRoutes[] = {&kSync, &kLive, &kContract, &kHealth, &kReady, &kMetrics};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

// "application/json; charset=utf-8" -> "application/json"
std::string media_type(std::string_view header) {
  header = header.substr(0, header.find(';'));
  while (!header.empty() && (header.back() == ' ' || header.back() == '\t')) header.remove_suffix(1);
  return lower(header);
}

bool is_protobuf(std::string_view type) { return type == kProtobuf || type == "application/protobuf"; }

// A request id that came from outside is kept if it is harmless in a log.
bool usable_id(std::string_view id) {
  if (id.empty() || id.size() > 64) return false;
  for (char c : id)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
          c == '.'))
      return false;
  return true;
}

// The host's name of a Host header: "[::1]:80" -> "::1". Empty only when the header is.
std::string host_name(std::string_view header) {
  std::string_view name = header.substr(0, header.find(':'));
  if (const size_t end = header.find(']'); header.starts_with('[') && end != std::string_view::npos)
    name = header.substr(1, end - 1);
  return lower(name.empty() ? header : name);
}

HttpResponse json_response(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.content_type = kJson;
  response.body = std::move(body);
  return response;
}

}  // namespace

// What is known about a request, filled as it goes along.
struct Routes::Context {
  const Route* route = nullptr;
  std::string id;
  std::string trace_id, parent_id, span_id;  // of a distributed trace; empty without one
  bool answer_json = true;
  bool reads_json = false;
  bool known = false;  // the caller is
  std::string tenant;
  sync::Caller caller;
  int64_t expires_s = 0;  // of the caller's token; 0: it needs none
  sync::ServeStats stats;
  std::optional<Error> error;
};

Routes::Routes(const Settings& settings, TokenVerifier& verifier, Tenants& tenants, LiveHub& live, Metrics& metrics,
               Log& log, Clock& clock, Random& random)
    : settings_(settings),
      verifier_(verifier),
      tenants_(tenants),
      live_(live),
      metrics_(metrics),
      log_(log),
      clock_(clock),
      random_(random),
      device_rate_(settings.device_rate),
      tenant_rate_(settings.tenant_rate) {}

std::optional<HttpResponse> Routes::admit(HttpRequest& request) {
  auto context = std::make_shared<Context>();
  request.context = context;
  const std::string_view given = request.header("x-request-id");
  context->id = usable_id(given) ? std::string(given) : to_hex(random_.bytes(8));
  if (std::optional<TraceParent> parent = parse_traceparent(request.header("traceparent"))) {
    context->trace_id = std::move(parent->trace_id);
    context->parent_id = std::move(parent->span_id);
    context->span_id = to_hex(random_.bytes(8));
  }

  const std::string type = media_type(request.header("content-type"));
  const std::string accept = lower(request.header("accept"));
  context->reads_json = type == kJson;
  context->answer_json =
      accept.find(kJson) != std::string::npos || (accept.find("protobuf") == std::string::npos && !is_protobuf(type));

  for (const Route* route : kRoutes)
    if (request.path == route->path) context->route = route;
  if (!context->route)
    return error_reply(
        *context,
        fail(Code::not_found,
             "there is nothing at this path; POST /v1/sync, or GET /v1/live, /v1/contract, /health, /ready, "
             "/metrics"),
        0);
  if (context->route == &kSync && is_allowed_preflight(settings_.cors_origins, request)) {
    HttpResponse response = preflight_response();
    add_cors_headers(settings_.cors_origins, request, response);
    return response;
  }
  const bool put = context->route == &kContract && (request.method == "PUT" || request.method == "GET");
  if (!put && request.method != context->route->method &&
      !(request.method == "HEAD" && context->route->method == "GET")) {
    HttpResponse response = error_reply(*context,
                                        fail(Code::method, std::string(context->route->path) + " answers " +
                                                               std::string(context->route->method) + " only"),
                                        0);
    response.headers.emplace_back("Allow", std::string(context->route->method));
    if (context->route == &kSync) add_cors_headers(settings_.cors_origins, request, response);
    return response;
  }
  if (context->route == &kHealth) return json_response(200, "{\"status\":\"ok\"}");
  if (context->route == &kMetrics) {
    HttpResponse response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = metrics_.text(gauges(), tenants_.open());
    return response;
  }
  if (context->route == &kReady) return std::nullopt;
  if (context->route == &kContract) {
    if (std::optional<HttpResponse> refusal = admit_caller(request, *context)) return refusal;
    request.lane = context->tenant;
    return std::nullopt;
  }
  if (context->route == &kLive) return admit_live(request, *context);
  std::optional<HttpResponse> refusal = admit_exchange(request, *context);
  if (refusal) add_cors_headers(settings_.cors_origins, request, *refusal);
  return refusal;
}

// Who asks, and may it ask again so soon?
std::optional<HttpResponse> Routes::admit_caller(const HttpRequest& request, Context& context) {
  if (Status known = authenticate(request, context); !known.ok()) {
    HttpResponse response = error_reply(context, known.error(), code_retryable(known.error().code) ? kRetryAfterMs : 0);
    if (known.error().code == Code::unauthorized)
      response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"rejoin\"");
    return response;
  }
  context.known = true;
  Error why{};
  const std::string& device = context.caller.device.empty() ? request.remote : context.caller.device;
  if (const int64_t wait_ms = too_often(context.tenant, device, why)) return error_reply(context, why, wait_ms);
  return std::nullopt;
}

std::optional<HttpResponse> Routes::admit_exchange(HttpRequest& request, Context& context) {
  if (std::optional<HttpResponse> refusal = admit_caller(request, context)) return refusal;
  const std::string type = media_type(request.header("content-type"));
  if (!context.reads_json && !is_protobuf(type))
    return error_reply(
        context,
        fail(Code::media_type, "the content type '" + type.substr(0, 80) +
                                   "' is not read here; send application/x-protobuf or application/json"),
        0);
  request.lane = context.tenant;
  return std::nullopt;
}

// Has its device, or its tenant, used up what it may ask? How many milliseconds to wait, then, and why.
int64_t Routes::too_often(const std::string& tenant, const std::string& device, Error& why) {
  const auto now = std::chrono::steady_clock::now();
  const auto refused = [&](int64_t wait_ms, std::string_view scope, const RateLimit& limit) {
    metrics_.rate_limited(scope);
    std::string rate = std::to_string(std::max<int64_t>(1, std::llround(limit.per_second * 60)));
    why = fail(Code::rate_limited, "this " + std::string(scope) + " sends more requests than the " + rate +
                                       " a minute that it may; wait " + std::to_string(wait_ms) + " ms");
    return wait_ms;
  };
  // The device first, so that one that is refused uses up nothing of its tenant's. Nobody's names have a NUL in them.
  if (const int64_t wait_ms = device_rate_.take(tenant + '\0' + device, now))
    return refused(wait_ms, "device", device_rate_.limit());
  if (const int64_t wait_ms = tenant_rate_.take(tenant, now)) return refused(wait_ms, "tenant", tenant_rate_.limit());
  return 0;
}

Status Routes::authenticate(const HttpRequest& request, Context& context) const {
  const std::string_view header = request.header("authorization");
  if (header.empty()) {
    if (!settings_.dev)
      return fail(Code::unauthorized,
                  "no access token; send the header Authorization: Bearer TOKEN (rejoin token makes one)");
    if (!request.loopback) return fail(Code::forbidden, "a server in development mode answers its own machine only");
    // A page in a browser of this machine can make its own name point here (DNS rebinding).
    if (const std::string host = host_name(request.header("host")); !host.empty() && !net::is_loopback_host(host))
      return fail(Code::forbidden, "a server in development mode answers as localhost only, not as '" +
                                       host.substr(0, 80) + "'; use http://127.0.0.1 or http://localhost");
  } else if (!verifier_.any_key()) {
    if (!settings_.dev || !request.loopback)
      return fail(Code::unauthorized, "this server has no key to verify tokens with");
  } else {
    if (lower(header.substr(0, 7)) != "bearer ")
      return fail(Code::unauthorized, "the Authorization header must read: Bearer TOKEN");
    std::string_view token = header.substr(7);
    while (token.starts_with(' ')) token.remove_prefix(1);
    REJOIN_ASSIGN(const Claims claims, verifier_.verify(token, clock_.now_ms()));
    if (Status name = check_tenant_name(claims.tenant); !name.ok())
      return fail(Code::unauthorized, "the access token's tenant cannot be used: " + name.error().message);
    context.tenant = claims.tenant;
    context.expires_s = claims.expires_s;
    context.caller = {claims.device, claims.relay || settings_.recover, claims.schema, identity_of(claims, settings_)};
    return {};
  }
  context.tenant = "dev";
  context.caller = {"", settings_.recover, true, identity_of({}, settings_)};  // the device is named by its hello
  return {};
}

HttpResponse Routes::handle(HttpRequest& request) {
  Context& context = **std::any_cast<std::shared_ptr<Context>>(&request.context);
  if (context.route == &kReady) {
    Status ready = tenants_.probe();
    if (ready.ok()) ready = verifier_.ready();
    if (!ready.ok()) {
      context.error = ready.error();
      HttpResponse response = error_reply(context, ready.error(), 0);
      response.status = 503;
      return response;
    }
    return json_response(200, "{\"status\":\"ready\"}");
  }
  if (context.route == &kContract) return contract(request, context);
  HttpResponse response = exchange(request, context);
  add_cors_headers(settings_.cors_origins, request, response);
  return response;
}

// A WebSocket of a page is not kept from other origins' answers by the browser, as a fetch is: the server has to look.
// Its script cannot set headers either, so the token may come as a subprotocol.
std::optional<HttpResponse> Routes::admit_live(HttpRequest& request, Context& context) {
  if (!is_allowed_origin(settings_.cors_origins, request))
    return error_reply(
        context, fail(Code::forbidden, "pages of this origin may not connect here; name it with --cors-origin"), 0);
  const LiveProtocols offered = live_protocols(request.header("sec-websocket-protocol"));
  if (request.header("authorization").empty() && !offered.token.empty())
    request.headers.emplace_back("authorization", "Bearer " + offered.token);
  if (std::optional<HttpResponse> refusal = admit_caller(request, context)) return refusal;
  Result<std::shared_ptr<net::WebSocketOwner>> owner = live_.admit(
      {context.tenant, context.caller, view_of(context.caller), context.expires_s * 1000, request.remote, context.id});
  if (!owner.ok()) return error_reply(context, owner.error(), kRetryAfterMs);
  request.upgrade = std::move(*owner);
  request.upgrade_headers.emplace_back("X-Request-Id", context.id);
  if (offered.rejoin) request.upgrade_headers.emplace_back("Sec-WebSocket-Protocol", std::string(kLiveProtocol));
  return std::nullopt;
}

Result<LiveCaller> Routes::renew(const std::string& token) {
  HttpRequest request;
  request.headers.emplace_back("authorization", "Bearer " + token);
  Context context;
  REJOIN_TRY(authenticate(request, context));
  return LiveCaller{context.tenant, context.caller, view_of(context.caller), context.expires_s * 1000, {}, {}};
}

HttpResponse Routes::contract(HttpRequest& request, Context& context) {
  Result<std::string> answer = std::string();
  const Status used = tenants_.with(context.tenant, request.deadline, [&](sync::TenantStore& store) -> Status {
    answer = request.method == "PUT" ? put_contract(request.body, context.caller, settings_.sync, store)
                                     : show_contract(context.caller, store);
    return {};
  });
  if (!used.ok()) answer = used.error();
  if (!answer.ok())
    return error_reply(context, answer.error(), code_retryable(answer.error().code) ? kRetryAfterMs : 0);
  return json_response(200, std::move(*answer));
}

HttpResponse Routes::exchange(HttpRequest& request, Context& context) {
  const sync::MessageLimits limits = sync::message_limits(settings_.sync);
  Result<sync::SyncRequest> message =
      context.reads_json ? request_from_json(request.body, limits) : sync::decode_request(request.body, limits);
  if (!message.ok()) return error_reply(context, message.error(), 0);
  request.body = Bytes();

  Result<sync::SyncResponse> response = run_exchange(live_.parts(), context.tenant, context.caller, *message,
                                                     request.deadline, request.queued_seconds, context.stats);
  if (!response.ok())
    return error_reply(context, response.error(), code_retryable(response.error().code) ? kRetryAfterMs : 0);
  if (response->error) context.error = fail(response->error->code, response->error->message);
  return exchange_response(context, std::move(*response));
}

HttpResponse Routes::exchange_response(Context& context, sync::SyncResponse response) const {
  make_texts_valid(response);
  HttpResponse out;
  out.status = response.error ? code_http_status(response.error->code) : 200;
  if (context.answer_json)
    out.content_type = kJson, out.body = response_to_json(response);
  else
    out.content_type = kProtobuf, out.body = sync::encode_response(response);
  out.headers.emplace_back("Cache-Control", "no-store");
  out.headers.emplace_back("X-Request-Id", context.id);
  if (response.error && response.error->retry_after_ms)
    out.headers.emplace_back("Retry-After", std::to_string((response.error->retry_after_ms + 999) / 1000));
  return out;
}

// Refusals of an exchange have an exchange's form, so that a device reads the server's facts in them; others are small
// JSON objects.
HttpResponse Routes::error_reply(Context& context, const Error& error, int64_t retry_after_ms) const {
  context.error = error;
  if (context.route == &kSync) {
    sync::ServerFacts facts;
    if (context.known) facts = sync::facts_of(settings_.sync, context.caller, clock_.now_ms());
    return exchange_response(context, sync::error_response(error, facts, static_cast<uint64_t>(retry_after_ms)));
  }
  HttpResponse response = json_response(code_http_status(error.code),
                                        error_to_json(fail(error.code, clean_utf8(error.message)), retry_after_ms));
  if (!context.id.empty()) response.headers.emplace_back("X-Request-Id", context.id);
  if (retry_after_ms > 0) response.headers.emplace_back("Retry-After", std::to_string((retry_after_ms + 999) / 1000));
  return response;
}

HttpResponse Routes::refuse(const HttpRequest& request, const Error& error, int64_t retry_after_ms) {
  if (const auto* context = std::any_cast<std::shared_ptr<Context>>(&request.context)) {
    HttpResponse response = error_reply(**context, error, retry_after_ms);
    if ((*context)->route == &kSync) add_cors_headers(settings_.cors_origins, request, response);
    return response;
  }
  Context unknown;
  metrics_.error(error.code);
  return error_reply(unknown, error, retry_after_ms);
}

void Routes::done(const HttpRequest& request, const HttpResponse& response, uint64_t sent) {
  const auto* held = std::any_cast<std::shared_ptr<Context>>(&request.context);
  const Context unknown;
  const Context& context = held ? **held : unknown;
  const std::string_view route = context.route ? context.route->name : "other";
  const auto took = std::chrono::steady_clock::now() - request.arrived;
  metrics_.request(route, response.status, std::chrono::duration<double>(took).count(), request.wire_bytes, sent);
  if (context.error) metrics_.error(context.error->code);

  const bool ours = response.status >= 500;
  const bool routine = context.route == &kHealth || context.route == &kReady || context.route == &kMetrics;
  const LogLevel level = ours            ? LogLevel::error
                         : context.error ? LogLevel::warning
                         : routine       ? LogLevel::debug
                                         : LogLevel::info;
  log_.write(level, "request",
             {{"id", context.id},
              {"trace_id", context.trace_id},
              {"span_id", context.span_id},
              {"parent_id", context.parent_id},
              {"method", request.method.substr(0, 16)},
              {"route", std::string(route)},
              {"status", response.status},
              {"ms", std::chrono::duration_cast<std::chrono::milliseconds>(took).count()},
              {"remote", request.remote},
              {"scheme", request.https ? "https" : "http"},
              {"tenant", context.tenant},
              {"device", context.caller.device},
              {"received", request.wire_bytes},
              {"sent", sent},
              {"pushed", context.stats.rows_pushed},
              {"pulled", context.stats.rows_pulled},
              {"refused", context.stats.refused.size()},
              {"error", context.error ? std::string(code_name(context.error->code)) : std::string()},
              {"message", context.error ? context.error->message : std::string()}});
}

}  // namespace rejoin::server
