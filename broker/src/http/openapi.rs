//! The pages as an OpenAPI document, made of the table that serves them.
use axum::http::Method;
use serde_json::{Map, Value, json};

use super::routes::Listed;

/// Of all `pages`.
pub(super) fn document(pages: &[Listed]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for page in pages {
        let at = paths.entry(page.path.clone()).or_insert_with(|| json!({}));
        for method in &page.methods {
            at[method.as_str().to_ascii_lowercase()] = operation(method, &page.path);
        }
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Geminga",
            "description": "Administration in the manner of Apache Pulsar. Errors are JSON with a reason.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {"schemas": {
            "Refusal": {"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"]},
        }},
    })
}

fn operation(method: &Method, path: &str) -> Value {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> =
        names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect();
    let words: Vec<&str> = path.split(['/', '{', '}', '-']).filter(|word| !word.is_empty()).skip(2).collect();
    let mut operation = json!({
        "operationId": format!("{}_{}", method.as_str().to_ascii_lowercase(), words.join("_")),
        "tags": [words.first().copied().unwrap_or_default()],
        "parameters": parameters,
        "responses": {
            "2XX": {"description": "Done; JSON where there is something to say"},
            "default": {
                "description": "Refused",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
            },
        },
    });
    if *method == Method::PUT || *method == Method::POST {
        operation["requestBody"] = json!({"content": {"application/json": {"schema": {}}}});
    }
    operation
}
