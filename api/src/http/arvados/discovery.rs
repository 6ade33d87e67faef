//! `GET /discovery/v1/apis/arvados/v1/rest`: what the API is, for clients that build themselves from that.

use http::StatusCode;
use serde_json::{Value, json};
use warp::reply::Response;

use super::super::call::Call;
use super::super::problem::{Code, Problem};
use super::super::reply;
use super::logs::SKIP_MAX;
use crate::streams::arvados::list::{LIMIT_DEFAULT, LIMIT_MAX};

/// The scope of the only identity there is.
const SCOPE: &str = "arvados";

/// `GET /discovery/v1/apis/arvados/v1/rest`.
pub(in super::super) async fn document(call: Call) -> Result<Response, Problem> {
    let origin = call.server.edges.origin(&call.headers, call.peer);
    let origin = origin.ok_or_else(|| Problem::new(Code::BadRequest, "the request has no good `Host`"))?;
    let document = describe(&origin, call.server.node.settings.connections.body_bytes_max);
    Ok(reply::json(StatusCode::OK, &document))
}

/// The document for whoever comes by this origin.
fn describe(origin: &str, body_bytes_max: u64) -> Value {
    let socket = origin.replacen("http", "ws", 1);
    let text = |description: &str| json!({"type": "string", "location": "query", "description": description});
    let number = |description: &str, minimum: u64, maximum: u64, default: u64| {
        json!({"type": "integer", "location": "query", "description": description,
            "minimum": minimum.to_string(), "maximum": maximum.to_string(), "default": default.to_string()})
    };
    let scopes = json!([SCOPE]);
    json!({
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "arvados:v1",
        "name": "arvados",
        "version": "v1",
        "revision": env!("CARGO_PKG_VERSION"),
        "title": "Scrollback",
        "description": "Scrollback's events as Arvados' log",
        "protocol": "rest",
        "rootUrl": format!("{origin}/"),
        "servicePath": "arvados/v1/",
        "basePath": "/arvados/v1/",
        "baseUrl": format!("{origin}/arvados/v1/"),
        "batchPath": "batch",
        "websocketUrl": format!("{socket}/websocket"),
        "maxRequestSize": body_bytes_max,
        "parameters": {
            "alt": {"type": "string", "location": "query", "enum": ["json"], "default": "json",
                "description": "The form of the answer."}
        },
        "auth": {"oauth2": {"scopes": {SCOPE: {"description": "Read the events"}}}},
        "schemas": {
            "Log": {
                "id": "Log",
                "type": "object",
                "properties": {
                    "kind": {"type": "string"},
                    "id": {"type": "integer", "description": "The event's offset."},
                    "uuid": {"type": "string"},
                    "object_uuid": {"type": "string"},
                    "object_owner_uuid": {"type": "string"},
                    "object_kind": {"type": "string"},
                    "event_type": {"type": "string"},
                    "event_at": {"type": "datetime"},
                    "created_at": {"type": "datetime"},
                    "properties": {"type": "Hash"}
                }
            },
            "LogList": {
                "id": "LogList",
                "type": "object",
                "properties": {
                    "kind": {"type": "string"},
                    "offset": {"type": "integer"},
                    "limit": {"type": "integer"},
                    "items_available": {"type": "integer"},
                    "items": {"type": "array", "items": {"$ref": "Log"}}
                }
            }
        },
        "resources": {
            "logs": {
                "methods": {
                    "list": {
                        "id": "arvados.logs.list",
                        "path": "logs",
                        "httpMethod": "GET",
                        "description": "Rows of the log.",
                        "parameters": {
                            "filters": {"type": "array", "location": "query",
                                "description": "Conditions that must all hold."},
                            "order": {"type": "array", "location": "query",
                                "description": "By id or created_at, asc or desc."},
                            "limit": number("The most rows.", 1, LIMIT_MAX, LIMIT_DEFAULT),
                            "offset": number("How many rows are left out before.", 0, SKIP_MAX, 0),
                            "count": text("exact or none")
                        },
                        "response": {"$ref": "LogList"},
                        "scopes": scopes
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_has_the_origins_host_and_is_as_secure_as_it() {
        let url = |origin| describe(origin, 1)["websocketUrl"].clone();
        assert_eq!(url("https://chat.example:8443"), "wss://chat.example:8443/websocket");
        assert_eq!(url("http://127.0.0.1:8080"), "ws://127.0.0.1:8080/websocket");
        assert_eq!(url("https://http.example"), "wss://http.example/websocket");
    }
}
