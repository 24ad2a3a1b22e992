/** Which web pages may read the answers (the Fetch standard's CORS protocol). With no origins configured, no page of another origin may. */
import type { RequestHandler } from "express";

/** Beside the headers that any page may send. */
const REQUEST_HEADERS = "If-None-Match, Last-Event-ID";
const ANSWER_HEADERS = "ETag, Retry-After";
const PREFLIGHT_SECONDS = "86400";

/**
 * @param origins such as `https://app.example`; `*` is every one
 * @param methods that the service answers
 */
export function cors(origins: readonly string[], methods: readonly string[]): RequestHandler {
  const allowed = new Set(origins);
  const takes = methods.some((method) => method === "PUT" || method === "POST");
  return (request, response, next) => {
    const { origin } = request.headers;
    // An answer that a cache keeps for one page must not be given to another.
    if (!allowed.has("*") && allowed.size > 0) response.vary("Origin");
    if (origin === undefined || !(allowed.has("*") || allowed.has(origin))) {
      next();
      return;
    }
    response.set({
      "Access-Control-Allow-Origin": allowed.has("*") ? "*" : origin,
      "Access-Control-Expose-Headers": ANSWER_HEADERS,
      "Cross-Origin-Resource-Policy": "cross-origin",
    });
    if (request.method !== "OPTIONS" || request.headers["access-control-request-method"] === undefined) {
      next();
      return;
    }
    response.set({
      "Access-Control-Allow-Methods": methods.join(", "),
      "Access-Control-Allow-Headers": takes ? `Content-Type, ${REQUEST_HEADERS}` : REQUEST_HEADERS,
      "Access-Control-Max-Age": PREFLIGHT_SECONDS,
    });
    response.status(204).end();
  };
}
